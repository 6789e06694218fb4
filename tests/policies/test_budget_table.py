"""The budget table: read, checked in one place, written as it was."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_keras.policies import BudgetRow, BudgetTable, Times
from ds_keras.policies.budget_table import LEVELS

LEVEL_COUNT, CHAIN = 3, (0, 1, 2)
COUNTS = {"gate": 1, "cascade": 2, LEVELS: 1}
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9))
shares = st.lists(st.floats(0, 1), min_size=LEVEL_COUNT, max_size=LEVEL_COUNT)


def rows(count):
    row = st.tuples(st.lists(numbers, min_size=count, max_size=count), numbers, numbers, st.none() | shares)
    plain = row.map(lambda row: [*row[:3], *([] if row[3] is None else [row[3]])])
    return st.lists(plain, max_size=5).map(lambda found: sorted(found, key=lambda row: row[1]))


tables = st.fixed_dictionaries({}, optional={name: rows(count) for name, count in COUNTS.items()})


@given(tables)
def test_written_as_it_was_read(table):
    found = BudgetTable.from_json(json.loads(json.dumps(table)), LEVEL_COUNT, CHAIN)
    assert json.dumps(found.to_json()) == json.dumps(table)
    assert BudgetTable.from_json(found.to_json(), LEVEL_COUNT, CHAIN) == found == BudgetTable.from_json(table)
    for name, listed in table.items():
        for row, plain in zip(found.of(name), listed, strict=True):
            passes = tuple(plain[3]) if len(plain) == 4 else None
            assert row == BudgetRow(tuple(plain[0]), plain[1], plain[2], passes)
    assert found.of(1) == found.of("oracle") == ()


GOOD = [[0.5], 1.0, 0.9, [1.0, 0.0, 0.0]]
BAD = {
    "no dictionary": [GOOD],
    "another policy": {"oracle": [GOOD]},
    "no rows": {"gate": {}},
    "no row": {"gate": [None]},
    "short": {"gate": [GOOD[:2]]},
    "long": {"gate": [[*GOOD, 1]]},
    "a plain setting": {"gate": [[0.5, *GOOD[1:]]]},
    "too many settings": {"gate": [[[0.5, 0.5], *GOOD[1:]]]},
    "too few thresholds": {"cascade": [GOOD]},
    "two levels in one row": {"levels": [[[0, 1], *GOOD[1:]]]},
    "a text": {"gate": [[["0.5"], *GOOD[1:]]]},
    "a truth": {"gate": [[[True], *GOOD[1:]]]},
    "not a number": {"gate": [[[0.5], float("nan"), 0.9]]},
    "infinite": {"gate": [[[0.5], float("inf"), 0.9]]},
    "beyond every float": {"gate": [[[10**400], 1.0, 0.9]]},
    "passes of two levels": {"gate": [[*GOOD[:3], [1.0, 0.0]]]},
    "passes above 1": {"gate": [[*GOOD[:3], [2.0, 0.0, 0.0]]]},
    "falling": {"gate": [[[0.5], 2.0, 0.9], [[0.4], 1.0, 0.9]]},
}


@pytest.mark.parametrize("table", BAD.values(), ids=BAD)
def test_bad_rows_are_refused_with_one_message(table):
    message = r"budget_table must map gate, cascade, levels to rows \[settings, MAdds, accuracy\] or .* received "
    with pytest.raises(ValueError, match=message):
        BudgetTable.from_json(table, LEVEL_COUNT, CHAIN)


def test_where_the_network_is_not_known_its_numbers_are_not_compared():
    assert BudgetTable.from_json({"cascade": [GOOD]}).of("cascade")[0].settings == (0.5,)
    assert BudgetTable.from_json({"gate": [[*GOOD[:3], [1.0, 0.0]]]}).of("gate")[0].passes == (1.0, 0.0)


def test_settings_lie_between_rows():
    table = BudgetTable.from_json(
        {"cascade": [[[0.0, 0.2], 10, 0.5, [1, 0, 0]], [[1.0, 0.4], 30, 0.9, [1.0, 0.5, 0.5]]]}, LEVEL_COUNT, CHAIN
    )
    np.testing.assert_allclose(table.settings_at("cascade", 40, fraction=0.5), [0.5, 0.3])
    np.testing.assert_allclose(table.settings_at("cascade", 40, madds=15), [0.25, 0.25])
    times = Times(1.0, [1.0, 2.0, 6.0], judge=0.5)  # 2.5 and 1 + 1.5 + 1.25 + 3.25
    np.testing.assert_allclose(table.milliseconds("cascade", times), [2.5, 7.0])
    np.testing.assert_allclose(table.settings_at("cascade", 40, milliseconds=4.75, times=times), [0.5, 0.3])
    assert table.without("cascade").rows == {}
