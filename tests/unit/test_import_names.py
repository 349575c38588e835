r"""Names of runs: a number is read as a train size only where nothing else can be meant.

What belongs to the kind: a number that is cut short (`10,000` as 10, `19k` as 19, `1e4` as 1, by a pattern
of one's own too); a number of something else (`img_size32`, `batch_size128`, `val_n100`); a share (`50pct`);
a number that two countries read in two ways (`10.000`); two numbers of which either may be it. Each is either
read as what it says or refused in one line that names the run and a way out.
"""

from __future__ import annotations

import pytest

from tui_datasize.runlog.importing.names import count_of, told_by_name


@pytest.mark.parametrize(
    ("run", "size", "seed"),
    [
        ("n=1k_s0", 1_000, 0),
        ("n=10,000_s0", 10_000, 0),
        ("n=1e4_s1", 10_000, 1),
        ("n10_000_s2", 10_000, 2),
        ("n=5M_s0", 5_000_000, 0),
        ("n=2.5k-seed=3", 2_500, 3),
        ("n=1,200,300,seed=3", 1_200_300, 3),
        ("n=1.5e+3", 1_500, None),
        ("n500s0", 500, 0),
        ("n500lr0.1_s3", 500, 3),
        ("train_1f2d3_n500d2s1", 500, 1),
        ("n500_1", 500, None),
        ("logs/n500_s0/n500_s0", 500, 0),
        ("ResNet18-train_size=20k-seed3", 20_000, 3),
        ("imgSize32-nTrain500-s1", 500, 1),
        ("img_size32_n500_d0.5_s0", 500, 0),
        ("batch_size128-size500", 500, None),
        ("val_n100_n500_s007", 500, 7),
        ("bn1_steps100_n40", 40, None),
        ("train_5s3f_00001", None, None),
        ("leon_19k_s0", None, 0),
        ("cnn_size500_s1", None, 1),
        ("size=32x32_n500_s0", 500, 0),
        ("size32x32_s0", None, 0),
        ("n500x2", None, None),
        ("n500-0", 500, None),
        ("n500-20240105-s1", 500, 1),
        ("n500-2024-01-05", 500, None),
    ],
)
def test_a_number_belongs_to_the_whole_word_before_it(run, size, seed):
    told = told_by_name(run)
    assert (told.get("size"), told.get("seed")) == (size, seed)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("n=50pct_s0", "'50pct' is a share, not a number of images"),
        ("n=50%", "'50%' is a share"),
        ("n10.000_s1", "'10.000' may be 10 or 10,000"),
        ("n=0.5_s1", "'0.5' is not a whole number"),
        ("n500_100", "'500_100' may be 500 or one number"),
        ("n10_00", "'10_00' may be 10 or one number"),
        ("n=10 000", "'10 000' is not a number of images that is known"),
        ("n=10'000", "is not a number of images that is known"),
        ("n=5m_s0", "'5m' is not a number"),
        ("n1e4s2", "'1e4s2' is not a number"),
        ("n500e10", "'500e10' is not a whole number"),
        ("n=1e4.5", "is not a number of images that is known"),
        ("n=10^4", "is not a number of images that is known"),
        ("size_32_n_500", "may be given by 'size_32' and 'n_500'"),
        ("n5_n6_n5_n7", "may be given by 'n5', 'n6' and 'n7'"),
        ("n=10k-20k", "'10k-20k' may be 10k or 20k"),
        ("n500-1000_s1", "'500-1000' may be 500 or 1000"),
        ("n=500\u20131000", "is not a number of images that is known"),
        ("n=500..1000", "is not a number of images that is known"),
        ("n=5\u00d7100", "is not a number of images that is known"),
        ("n5_seed1_seed2", "the seed of run 'n5_seed1_seed2' may be given by 'seed1' and 'seed2'"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(run, says):
    with pytest.raises(ValueError, match="--run-pattern") as refused:
        told_by_name(run)
    assert says in str(refused.value)
    assert repr(run) in str(refused.value)


def test_a_pattern_of_ones_own_cuts_no_number_short():
    told = told_by_name("n=10,000_s1", pattern=r"n=(?P<size>[\d,]+)_s(?P<seed>\d+)")
    assert told == {"size": 10_000, "seed": 1}
    with pytest.raises(ValueError, match="takes '10' out of '10,000'"):
        told_by_name("n=10,000_s1", pattern=r"n=(?P<size>\d+)")
    with pytest.raises(ValueError, match="takes '19' out of '19k'"):
        told_by_name("leon_19k_x", pattern=r"_(?P<size>\d+)")
    assert told_by_name("leon_19k_x", pattern=r"_(?P<size>\w+)_") == {"size": 19_000}


@pytest.mark.parametrize(("text", "count"), [("10,000", 10_000), ("7.5k", 7_500), ("1.0e+01", 10), ("0", 0)])
def test_a_column_of_sizes_is_read_by_the_same_rules(text, count):
    assert count_of(text) == count


@pytest.mark.parametrize("text", ["10.000", "1,00", "-5", "1e-3", "50%", "", "nan", "1e300", "٣", "1_00"])
def test_a_size_that_is_no_number_of_images_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a whole number|may be 10 or 10,000|is a share"):
        count_of(text)


def test_names_with_units_and_separators_become_runs_of_these_sizes(desk, capsys):
    rows = '"n=1k_s0",0.50\n"n=10,000_s0",0.60\n"n=1e4_s1",0.61\n"n10_000_s2",0.62\n"n=5M_s0",0.90\n'
    assert desk.bring(desk.file("a.csv", f"run,test_accuracy\n{rows}")) == 0
    assert desk.rows("test_accuracy") == [
        (1_000, 0, 0.50), (10_000, 0, 0.60), (10_000, 1, 0.61), (10_000, 2, 0.62), (5_000_000, 0, 0.90),
    ]  # fmt: skip
    before = desk.tree()
    capsys.readouterr()
    assert desk.bring(desk.file("b.csv", f'run,test_accuracy\n{rows}"n=50pct_s0",0.70\n')) == 2
    error = capsys.readouterr().err
    assert "'50pct' is a share" in error
    assert error.count("\n") == 1
    assert desk.tree() == before


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("n (%),acc\n10,0.6\n20,0.7\n", (), "'n (%)' is in other units than images by its name"),
        ("train_pct,acc\n10,0.6\n20,0.7\n", ("--column", "size=train_pct"), "'train_pct' is in other units"),
        ("Fraction,acc\n0.1,0.6\n1,0.7\n", ("--column", "size=Fraction"), "'Fraction' is in other units"),
        ("n (k),acc\n10,0.6\n20,0.7\n", ("--column", "size=n (k)"), "'n (k)' is in other units"),
        ("run,size,acc\nn500_s0,224,0.6\n", (), "the size is 224 by its column and 500 by the name of run"),
        ("name,n,seed,acc\nn500_s1,500,0,0.6\n", (), "the seed is 0 by its column and 1 by the name of run"),
    ],
)
def test_a_column_that_counts_no_images_or_contradicts_the_name_is_refused(desk, capsys, text, words, says):
    assert desk.bring(desk.file("a.csv", text), *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "--column" in error
    assert error.count("\n") == 1


def test_a_column_that_a_person_names_goes_before_the_name(desk):
    file = desk.file("a.csv", "run,size,acc\nn500_s0,450,0.6\n")
    assert desk.bring(file, "--column", "size=size") == 0
    assert desk.bring(file, "--ignore", "size", experiment="by_name") == 0
    assert desk.rows() == [(500, 0), (450, 0)]


def test_logs_in_folders_take_size_and_seed_from_them(desk):
    for n in (500, 2000):
        for seed in (0, 1):
            rows = f"0,99,0.69,\n0,99,,0.61\n1,199,0.5,\n1,199,,{0.7 + n / 20_000 + seed / 100:.3f}\n"
            desk.file(f"logs/n{n}_s{seed}/metrics.csv", f"epoch,step,train_loss,val_accuracy\n{rows}")
    logs = desk.project.root / "logs"
    for experiment, given in (("folder", [logs]), ("files", sorted(logs.glob("*/metrics.csv")))):
        assert desk.bring(*given, "--column", "test_accuracy=val_accuracy", experiment=experiment) == 0
    assert desk.rows("test_accuracy", "train_loss") == [
        (500, 0, 0.725, 0.5), (500, 1, 0.735, 0.5), (2000, 0, 0.8, 0.5), (2000, 1, 0.81, 0.5),
    ] * 2  # fmt: skip
