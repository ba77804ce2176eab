"""What a run of preparing has to do: what is wanted, less what is there, and what became of the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emotion_ray.data.archives import Archive
from emotion_ray.data.http_transfer import shown
from emotion_ray.data.prepared import read_held, read_listings, read_rejects
from emotion_ray.data.ravdess import parse_actors
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import (
    MODALITIES,
    Choice,
    RejectedTake,
    Take,
    record_archives,
    takes_in_folder,
    takes_in_manifest,
    without_doubles,
)
from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.settings import PrepareSettings

TAKES_A_TASK = 16  # of files at hand, read by one fetching task
PASSING_STAGES = ("fetch", "worker")  # rejects of these may go well another time


@dataclass(frozen=True)
class Work:
    """What one fetching task does: an archive to have and list, or takes that are at hand.

    Attributes:
        done: clip_ids in the archive that need nothing more.
    """

    takes: tuple[Take, ...] = ()
    archive: Archive | None = None
    done: frozenset[str] = frozenset()


@dataclass
class Plan:
    """What is wanted and what has become of it.

    Attributes:
        choice: which takes are wanted.
        archives: to fetch, by name.
        at_hand: takes in folders and files on this machine.
        held: clip_ids that are in the folder.
        listings: clip_ids of the wanted takes of each archive that has been listed, with its md5.
        rejects: of this run, by source; clip_ids among `settled` are those of earlier runs that stay.
    """

    choice: Choice
    archives: dict[str, Archive]
    at_hand: list[Take]
    held: set[str]
    listings: dict[str, dict]
    earlier: list[RejectedTake]
    rejects: dict[str, RejectedTake] = field(default_factory=dict)
    listed: dict[str, list[Take]] = field(default_factory=dict)

    def work(self) -> list[Work]:
        """What is still to do, in tasks."""
        left = self._missing(self.at_hand)
        work = [Work(takes=tuple(left[i : i + TAKES_A_TASK])) for i in range(0, len(left), TAKES_A_TASK)]
        done = self._done()
        for name, archive in self.archives.items():
            wanted = self._listing(archive)
            if name not in self.rejects and (wanted is None or not done.issuperset(wanted)):
                work.append(Work(archive=archive, done=done))
        return work

    def note_listing(self, name: str, takes: list[Take]) -> None:
        """Takes down what an archive holds, so that it need not be fetched again to know."""
        self.listed[name] = takes
        self.listings[name] = {
            "md5": self.archives[name].md5,
            "modalities": list(self.choice.modalities),
            "clip_ids": [take.clip_id for take in takes],
        }

    def reject_the_missing(self) -> None:
        """Rejects what killed its worker each time."""
        what = "its worker process died each time (a crash, a hang, or too little memory)"
        for archive in (work.archive for work in self.work() if work.archive):
            if self._listing(archive) is None:
                fault = Reject("worker", "worker_died", f"{archive.name}: {what}")
                self.rejects[archive.name] = RejectedTake.of(archive.name, None, fault)
        listed = [take for takes in self.listed.values() for take in takes]
        for take in self._missing([*self.at_hand, *listed]):
            fault = Reject("worker", "worker_died", f"{take.name}: {what}")
            self.rejects[take.source] = RejectedTake.of(take.source, take.clip_id, fault)

    def all_rejects(self) -> list[RejectedTake]:
        """This run's rejects, and the earlier ones that it did not try again."""
        retried = [shown(work.url) for work in self.archives.values()] + list(self.archives)
        at_hand = {take.source for take in self.at_hand}
        settled = self._settled()
        kept = {
            reject.source: reject
            for reject in self.earlier
            if reject.clip_id not in self.held
            and reject.source not in at_hand
            and (reject.clip_id in settled or reject.source.split("!")[0] not in retried)
        }
        return list((kept | self.rejects).values())

    def _missing(self, takes: Iterable[Take]) -> list[Take]:
        return [take for take in takes if take.clip_id not in self.held and take.source not in self.rejects]

    def _done(self) -> frozenset[str]:
        rejected = {reject.clip_id for reject in self.rejects.values() if reject.clip_id}
        return frozenset(self.held | self._settled() | rejected)

    def _settled(self) -> set[str]:
        """Takes of archives that were rejected before for what they are: the archive's md5 says they still are."""
        sources = {shown(archive.url) for archive in self.archives.values() if archive.md5}
        return {
            reject.clip_id
            for reject in self.earlier
            if reject.clip_id and reject.stage not in PASSING_STAGES and reject.source.split("!")[0] in sources
        }

    def _listing(self, archive: Archive) -> list[str] | None:
        listing = self.listings.get(archive.name, {})
        same = listing.get("md5") == archive.md5 is not None
        return listing["clip_ids"] if same and listing["modalities"] == list(self.choice.modalities) else None


def make_plan(settings: PrepareSettings, folder: Folder) -> Plan:
    """Looks at what is wanted and what is there.

    Raises:
        EmotionRayError: a wrong setting, a source that can't be read or has nothing that is wanted, or a
            folder whose shards can't be read.
    """
    modalities = MODALITIES[settings.modality]
    held, earlier, listings = set(read_held(folder)), read_rejects(folder), read_listings(folder)
    if settings.source == "zenodo":
        actors = parse_actors(settings.actors or "1-10")
        archives = {archive.name: archive for archive in record_archives(actors, settings.base_url)}
        return Plan(Choice(frozenset(actors), modalities), archives, [], held, listings, earlier)
    choice = Choice(frozenset(parse_actors(settings.actors, None)) if settings.actors else None, modalities)
    source = Path(settings.source).expanduser()
    if source.suffix.lower() == ".csv":
        takes, rejects = takes_in_manifest(source, choice), []
    else:
        takes, rejects = takes_in_folder(source, choice)
    takes, doubles = without_doubles(takes)
    if not takes and not rejects:
        of = f" of --actors {settings.actors}" if settings.actors else ""
        raise EmotionRayError(f"{source} has no takes{of} of --modality {settings.modality}: choose others")
    plan = Plan(choice, {}, takes, held, listings, earlier)
    plan.rejects.update((reject.source, reject) for reject in rejects + doubles)
    return plan
