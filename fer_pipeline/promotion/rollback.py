"""Roll back: make an earlier champion champion again, with its bundle."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fer_pipeline.errors import FerError, ModelError
from fer_pipeline.experiments import registry
from fer_pipeline.experiments.registry import BUNDLE_TAG, PROMOTED_TAG, ROLLED_BACK_TAG, Version
from fer_pipeline.promotion import champion
from fer_pipeline.promotion.bundle import store


@dataclass(frozen=True)
class RollBack:
    """The version that is champion again, and the tag of its bundle.

    `skipped` are later champions, trained on synthetic faces, that do not follow one of real pictures unless they are named.
    """

    version: Version
    bundle: str
    skipped: tuple[Version, ...]


def roll_back(root: Path, reference: int | str | None, *, force: bool = False) -> RollBack:
    """Make an earlier version champion again, with its bundle.

    The bundle of then is used where the store still holds it. `reference` is number, alias or run id. Without it that is the
    champion before the present one, of those that were not rolled back themselves. The present one is marked as rolled back, so
    that the gate does not promote it again by itself, but only where the way leads back: to restore a version that was rolled
    back, or to name one that never was champion, says nothing against the present one.

    Raises `ModelError` where there is no earlier champion, and, without `force`, for a version that the gate has refused and
    that never was champion.
    """
    present = champion.champion(root)
    known = registry.versions(present.name)
    earlier = [v for v in known if PROMOTED_TAG in v.tags and ROLLED_BACK_TAG not in v.tags and v.number != present.number]
    earlier.sort(key=lambda version: version.tags[PROMOTED_TAG], reverse=True)
    skipped: list[Version] = []
    if reference is None:
        fitting = [one for one in earlier if _is_synthetic(present) or not _is_synthetic(one)]
        target = next(iter(fitting), None)
        skipped = [one for one in earlier[: earlier.index(target) if target else None] if one not in fitting]
    else:
        target = registry.find(present.name, str(reference))
    if target is None or target.number == present.number:
        others = ", ".join(str(version.number) for version in known if version.number != present.number)
        wanted = "no earlier champion" if reference is None else f"no other version {reference}"
        left = f" but {', '.join(map(str, skipped))}, of synthetic faces where {present} is of real ones," if skipped else ""
        ways = f"--to takes one of {others}" if others else "`fer run` trains another version"
        raise ModelError(f"{present} is champion, and there is {wanted}{left} to go back to: {ways}")
    if not force and target.tags.get("gate") == "failed" and PROMOTED_TAG not in target.tags:
        raise ModelError(
            f"{target} was refused by the gate (`fer models show {target.number}` says why): give --force to make it champion "
            "nevertheless"
        )
    built = target.tags.get(BUNDLE_TAG)
    bundle = built if built and store.is_packaged(built) else champion.package_version(root, target)
    back = target in earlier
    if back:  # marked first: a kill in between must not leave the way open for the gate to promote it again
        registry.tag_version(present, {ROLLED_BACK_TAG: datetime.now(UTC).isoformat(timespec="seconds")})
    try:
        champion.set_champion(root, target, str(present))
    except BaseException:
        with suppress(FerError):  # the first error says more
            if back and champion.champion(root).number == present.number:
                registry.untag_version(present, ROLLED_BACK_TAG)
        raise
    registry.untag_version(target, ROLLED_BACK_TAG)
    return RollBack(target, bundle, tuple(skipped))


def _is_synthetic(version: Version) -> bool:
    return version.tags.get("synthetic") == "true"
