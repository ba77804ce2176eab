"""The last stage of preparing: clips become shards."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from emotion_ray.data.clips import Clip, write_shards
from emotion_ray.data.storage import Folder
from emotion_ray.distributed.fetch_stage import Failed
from emotion_ray.distributed.shared_folder import Mark, unshared
from emotion_ray.errors import EmotionRayError


@dataclass(frozen=True)
class Written:
    """Tells that the clips of a batch are published in shards."""


@dataclass(frozen=True)
class WriteStage:
    """Turns every `Clip` of a batch into `Written` or `Failed`, and lets all else pass.

    Attributes:
        folder: where the shards go.
        mark: what every machine must find there; None where there is but one.
    """

    folder: Folder
    mark: Mark | None = None

    def write(self, batch: dict) -> Iterator[dict]:
        """A row for each result."""
        items = list(batch["item"])
        clips = [item for item in items if isinstance(item, Clip)]
        results: list = [item for item in items if not isinstance(item, Clip)]
        if clips:
            try:
                results.append(self._written(clips))
            except EmotionRayError as error:
                results.append(Failed(str(error)))
        for result in results:
            yield {"item": [result]}

    def _written(self, clips: list[Clip]) -> Written | Failed:
        if self.mark and not self.mark.is_seen():
            return Failed(unshared(self.folder.uri, self.mark.flag, [platform.node()]))
        write_shards(self.folder, clips)
        return Written()
