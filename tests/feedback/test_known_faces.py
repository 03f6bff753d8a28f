from __future__ import annotations

from fer_pipeline.feedback.known_faces import KnownFaces
from fer_pipeline.imaging import content_hash, perceptual_hash
from tests.feedback.correcting import Workspace, face


def test_of_train_only_the_images_of_the_batch_are_kept(workspace: Workspace) -> None:
    hashes = [content_hash(face(seed)) for seed in (1, 3, 9)]  # of train, of test, of neither
    known = KnownFaces.read(workspace.processed, hashes)
    assert (known.train, known.measured) == ({hashes[0]}, {hashes[1]})
    assert set(known.measured_perceptual.tolist()) == {int(perceptual_hash(face(seed)), 16) for seed in (2, 3)}
    assert KnownFaces.read(workspace.processed, []).train == frozenset()
