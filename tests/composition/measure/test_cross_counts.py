import numpy as np

from encore_ray.composition.measure.cross_counts import CrossCounter


def test_tables_of_several_shapes_in_turn_are_what_counting_one_by_one_gives():
    rng = np.random.default_rng(0)
    counter = CrossCounter()
    for num_rows, num_columns, size in ((512, 20, 5000), (20, 20, 300), (512, 20, 7000), (512, 2, 0), (512, 20, 10)):
        row_N, column_N = (rng.integers(0, n, size).astype(np.int32) for n in (num_rows, num_columns))
        expected = np.zeros((num_rows, num_columns), dtype=np.int64)
        np.add.at(expected, (row_N, column_N), 1)
        found = counter.count(row_N, column_N, (num_rows, num_columns))
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)


def test_a_table_is_not_changed_by_those_counted_after_it():
    counter, zero_N = CrossCounter(), np.zeros(3, dtype=np.int32)
    first = counter.count(zero_N, zero_N, (2, 2))
    counter.count(zero_N + 1, zero_N, (2, 2))
    assert first.tolist() == [[3, 0], [0, 0]]
