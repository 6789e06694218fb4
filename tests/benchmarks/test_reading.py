import numpy as np
from PIL import Image

from ds_keras.benchmarks.reading import reading
from ds_keras.data import image_folder


def test_shards_against_files(tmp_path):
    for k in range(6):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        Image.fromarray(np.full([9, 8, 3], 40 * k, "uint8")).save(tmp_path / "ab"[k % 2] / f"{k}.png")
    source = image_folder(tmp_path, held_out=2)["train"]
    row = reading(source, shards=2, batch_size=2, image_size=8, steps=1, rounds=1)
    assert row["shards"] > 0 and row["files"] > 0 and row["ratio"] > 0
