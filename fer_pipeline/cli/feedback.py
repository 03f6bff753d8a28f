"""`fer feedback`: review people's corrections and make them training data."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from fer_pipeline.cli.options import AsJson, errors, labelled, print_json, results
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import FeedbackError, ParamsError
from fer_pipeline.feedback.corrections import INBOX_VARIABLE, Corrections
from fer_pipeline.workspace.layout import FEEDBACK, FEEDBACK_INBOX, OLD_REVIEW_PAGE, PARAMS, PROCESSED, RAW, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive

if TYPE_CHECKING:
    from fer_pipeline.feedback.review import Review

app = typer.Typer(help="Review what people corrected, and make it training data.", no_args_is_help=True)

Inbox = Annotated[Path, typer.Option(envvar=INBOX_VARIABLE, help="Folder in which the service keeps corrections.")]
Processed = Annotated[Path, typer.Option(help="Folder written by `fer preprocess`, which no correction may repeat.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Receipts, 32 hex digits each.")]
IdFile = Annotated[typer.FileText | None, typer.Option("--file", help="File with one id per line, - for standard input.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for another run of this workspace; -1: for ever.")]


@app.command()
def status(inbox: Inbox = FEEDBACK_INBOX, as_json: AsJson = False) -> None:
    """Count pending, accepted and withdrawn corrections.

    Pending ones are also counted by the label that was answered and the one that the person gave.

    Example: `fer feedback status`
    """
    from fer_pipeline.data.fetch import accepted_feedback

    corrections = _open(inbox)
    pending, damaged = corrections.read("pending")
    held = accepted_feedback.read(FEEDBACK)
    fetched = accepted_feedback.ids_in(RAW)
    ids = {one.id for one in held}
    pairs = Counter((one.answered, one.corrected) for one in pending)
    metadata = {
        "with_picture": sum(one.picture is not None for one in pending),
        "labels_alone": sum(one.picture is None for one in pending),
        "first_expires": min((one.expires.isoformat() for one in pending), default=None),
        "accepted": len(held),
        "version": accepted_feedback.version_of(held),
        "joined_by_next_run": len(ids - fetched),
        "deleted_but_in_raw_table": len(fetched - ids),
        "withdrawn": corrections.count("withdrawn"),
        "damaged": damaged,
        "pending_by_label": [{"answered": a, "corrected": c, "count": n} for (a, c), n in pairs.most_common()],
    }
    if as_json:
        print_json(metadata)
        return
    results.print(f"waiting: {metadata['with_picture']} with a picture, {metadata['labels_alone']} labels alone")
    for (answered, corrected), count in pairs.most_common():
        results.print(f"  {answered} should be {corrected}: {count}")
    if pending:
        results.print(f"the first of them expires on {min(one.expires for one in pending):%Y-%m-%d %H:%M} UTC")
    results.print(
        f"accepted: {len(held)}, version {metadata['version']}; {metadata['joined_by_next_run']} join with the next `fer run`"
    )
    if metadata["deleted_but_in_raw_table"]:
        results.print(labelled(f"{metadata['deleted_but_in_raw_table']} deleted ones still stand in {RAW}:", "yellow", _CLEAR))
    if metadata["withdrawn"]:
        withdrawn = f"{metadata['withdrawn']} were taken back after acceptance:"
        results.print(labelled(withdrawn, "yellow", "`fer feedback purge` deletes them"))
    for name in damaged:
        results.print(labelled("damaged:", "red", str(inbox / name)))


@app.command(name="list")
def list_(inbox: Inbox = FEEDBACK_INBOX, as_json: AsJson = False) -> None:
    """List the pending corrections that have a picture, oldest first.

    Each line has id, time, the label that was answered and the one that the person gave.

    Example: `fer feedback list --json`
    """
    pending, _ = _open(inbox).read("pending")
    given = [one for one in pending if one.picture is not None]
    if as_json:
        keys = ("id", "answered", "confidence", "corrected", "version", "sender", "size")
        times = [{"time": one.time.isoformat(), "expires": one.expires.isoformat()} for one in given]
        print_json([{key: getattr(one, key) for key in keys} | t for one, t in zip(given, times, strict=True)])
        return
    for one in given:
        results.print(f"{one.id}  {one.time:%Y-%m-%d %H:%M}  {one.answered} -> {one.corrected}")


@app.command()
def review(
    inbox: Inbox = FEEDBACK_INBOX,
    processed: Processed = PROCESSED,
) -> None:
    """Check pending corrections, and write a page with their faces.

    The checks are Great Expectations'. The page lies in the folder of the corrections, for its owner alone, and goes with the
    first correction on it that is deleted.

    Example: `fer feedback review`
    """
    from fer_pipeline.feedback import report

    corrections = _open(inbox)
    found = _review(corrections, processed)
    if not corrections.write_page(lambda folder: report.write(folder, found, inbox)):
        raise FeedbackError("a correction was deleted while its page was written, and the page with it: give the command again")
    for item in found.items:
        colour = {"passes": "green", "doubtful": "yellow", "refused": "red"}[item.verdict]
        change = f"{item.correction.answered} -> {item.correction.corrected}"
        verdict = (f"{item.verdict:8}", colour)
        results.print(Text.assemble(f"{item.correction.id}  ", verdict, f"  {change}  {'; '.join(item.faults + item.doubts)}"))
    results.print(f"{len(found.items)} corrections with a picture; page: {corrections.page.folder / report.PAGE_FILE}")


@app.command()
def accept(
    ids: Ids = None,
    file: IdFile = None,
    all_passing: Annotated[bool, typer.Option("--all-passing", help="Accept all that pass every check.")] = False,
    inbox: Inbox = FEEDBACK_INBOX,
    processed: Processed = PROCESSED,
    wait: Wait = 0,
) -> None:
    """Make corrections training data for the next run.

    They become a new version of data/feedback under DVC.

    Example: `fer feedback accept --all-passing`, then `fer run`
    """
    from fer_pipeline.feedback import versions
    from flows.feedback import announce

    named = _ids(ids, file)
    if bool(named) == all_passing:
        raise ParamsError("give ids (or --file) or --all-passing, one of both")
    with exclusive(RUN_LOCK, "fer feedback accept", wait):
        corrections = _open(inbox)
        versions.settle(corrections, Path.cwd())
        found = _review(corrections, processed)
        done = versions.accept(corrections, Path.cwd(), found, None if all_passing else named)
    for item in found.items:
        if all_passing and not item.passes:
            results.print(labelled("left:", "yellow", f"{item.correction.id} {'; '.join(item.faults + item.doubts)}"))
    if not done.ids:
        results.print(f"nothing to accept; {FEEDBACK} stays at version {done.version}")
        return
    results.print(
        f"{len(done.ids)} accepted; {FEEDBACK} holds {done.total}, version {done.version}; `fer run` trains with them; commit "
        f"{FEEDBACK}.dvc and {PARAMS} to keep it"
    )
    if announce(done.ids, done.version):
        results.print("Prefect was told")
    else:
        results.print(
            "no Prefect server is set (PREFECT_API_URL): none was told, and these will never count towards the training that "
            "enough corrections start. Start it yourself, by `fer run` or, on a server, `prefect deployment run "
            "train-champion/train`; set the variable before you accept the next ones"
        )


@app.command()
def reject(
    ids: Ids = None,
    file: IdFile = None,
    inbox: Inbox = FEEDBACK_INBOX,
) -> None:
    """Delete pending corrections.

    Example: `fer feedback reject 0123456789abcdef0123456789abcdef`
    """
    named = _ids(ids, file)
    if not named:
        raise ParamsError("give the ids of what to reject, or --file")
    corrections = _open(inbox)
    there = {one.id for one in corrections.read("pending")[0]}
    unknown = [one for one in named if one not in there]
    if unknown:
        raise FeedbackError(
            f"these do not wait: {', '.join(unknown)}; nothing was changed. `fer feedback list` names those that do"
        )
    for one in named:
        corrections.forget(one)
    results.print(f"{len(named)} deleted")


@app.command()
def delete(
    ids: Ids = None,
    file: IdFile = None,
    inbox: Inbox = FEEDBACK_INBOX,
    wait: Wait = 0,
) -> None:
    """Delete corrections by their receipts, also from the training data.

    Example: `fer feedback delete 0123456789abcdef0123456789abcdef`
    """
    from fer_pipeline.feedback import versions

    named = _ids(ids, file)
    if not named:
        raise ParamsError("give the receipts of what to delete, or --file")
    with exclusive(RUN_LOCK, "fer feedback delete", wait):
        done = versions.delete(_open(inbox), Path.cwd(), named)
    results.print(f"{len(named)} deleted, {len(done.ids)} of them out of {FEEDBACK}, now version {done.version}")
    if done.ids:
        results.print(_CLEAR)


@app.command()
def purge(inbox: Inbox = FEEDBACK_INBOX, wait: Wait = 0) -> None:
    """Delete expired and withdrawn corrections.

    It also finishes what a killed command began.

    Example: `fer feedback purge`
    """
    from fer_pipeline.feedback import versions

    with exclusive(RUN_LOCK, "fer feedback purge", wait):
        done = versions.purge(_open(inbox), Path.cwd())
    results.print(f"{len(done.ids)} taken out of {FEEDBACK}, which holds {done.total}, version {done.version}")
    if done.ids:
        results.print(_CLEAR)


_CLEAR = (
    f"tables with their faces are out of DVC's cache; `fer run` takes them out of {RAW}, {PROCESSED} and the quarantine, and so "
    "does `dvc repro validate`, without a training; remotes keep earlier versions until `dvc gc --workspace --cloud` after that; "
    "models that learned from them stay as they are"
)


def _open(inbox: Path) -> Corrections:
    """Open the inbox, and delete what has expired."""
    if OLD_REVIEW_PAGE.exists():
        from fer_pipeline.feedback.erasure import remove_old_page

        remove_old_page(Path.cwd())
        errors.print(f"{OLD_REVIEW_PAGE}, a page of faces that an earlier version wrote, was removed")
    corrections = Corrections(inbox)
    expired = corrections.expire(datetime.now(UTC))
    if expired:
        errors.print(f"{expired} expired, deleted")
    return corrections


def _review(corrections: Corrections, processed: Path) -> Review:
    from fer_pipeline.feedback import review

    return review.review(corrections, Path.cwd(), processed, load_params(PARAMS).feedback)


def _ids(ids: list[str] | None, file: typer.FileText | None) -> list[str]:
    listed = [line.strip() for line in file or () if line.strip()]
    return list(dict.fromkeys([*(ids or ()), *listed]))
