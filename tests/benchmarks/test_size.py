from helpers import nano

from ds_keras.benchmarks.size import sizes, with_random_statistics


def test_the_bytes_of_a_bundle_and_of_a_file():
    model = with_random_statistics(nano())
    gamma = next(variable for variable in model.variables if variable.name == "gamma").numpy()
    assert len(set(gamma.tolist())) == len(gamma)
    row = sizes(model)
    assert (row["what"], row["level"], row["kind"]) == ("size", 3, "float32")
    assert row["bytes"] > row["file"] > 1000 and row["ratio"] == row["bytes"] / row["file"]
