"""Runs a stream of photos through a detector's bundle: budgets in milliseconds, asked and kept, against fixed levels.

Each photo runs at every level and by the cascade at each budget, in turn. Prints the average milliseconds of a photo,
average precision, the share of the photos that each level answered, and the mAP@0.5 of fixed levels in the same time,
interpolated: where the cascade is not above it, take a fixed level.

Example:
    ds-keras benchmark detector --bundle=cells.dsbundle --data=pack:cells.npz --milliseconds=10,15,20
    ds-keras benchmark detector --bundle=cells.dsbundle --data=pack:cells.npz --cascade=routing.json
"""

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.existing("bundle", None, "Bundle of a detector.", required=True)
FLAGS.string("data", None, "As of train_detector: its test part is the stream.", required=True)
FLAGS.existing("cascade", None, "What route_detector wrote; default the cascade that the bundle holds.")
FLAGS.words("milliseconds", [], "Budgets; default some between the smallest and the largest level's time.")
FLAGS.integer("count", 1000, "Photos, at most.", lower_bound=1)
FLAGS.integer("rounds", 5, "Times that each photo runs in every way.", lower_bound=1)
FLAGS.integer("threads", 1, "Threads of LiteRT.", lower_bound=1, upper_bound=1024)
FLAGS.destination("json", None, "Write the rows to this file too.", file=True)


def main(_: str) -> None:
    """Reads the flags, runs the stream, prints the table."""
    from ds_keras import detection
    from ds_keras.cli.benchmark import common
    from ds_keras.detection.routing.stream import stream

    try:
        budgets = [float(number) for number in FLAGS.milliseconds]
    except ValueError:
        raise ValueError(f"--milliseconds must be numbers, received {','.join(FLAGS.milliseconds)!r}") from None
    session = detection.Session(FLAGS.bundle, FLAGS.threads)
    cascade = None if FLAGS.cascade is None else detection.DetectionCascade.read(FLAGS.cascade)
    source = detection.load_data(FLAGS.data).test
    source = source.subset(range(min(FLAGS.count, len(source))))
    rows = stream(session, source, cascade, budgets, FLAGS.rounds)
    print(f"{len(source)} photos, {FLAGS.rounds} rounds; shares of the levels {', '.join(map(str, session.levels))}")
    print("what      asked ms     ms  mAP@0.5    mAP  fixed levels in this time  shares")
    for row in rows:
        asked = "" if row["asked"] is None else f"{row['asked']:.2f}"
        shares = " ".join(f"{share:.2f}" for share in row["mix"])
        figures = f"{row['ms']:6.2f}  {row['map50']:7.3f}  {row['map']:5.3f}  {row['static']:25.3f}"
        print(f"{row['what']:8}  {asked:>8} {figures}  {shares}")
    common.keep(FLAGS, rows, FLAGS.bundle)
