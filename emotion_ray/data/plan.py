"""What a run of preparing has to do: what is wanted, less what is there, and what became of the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
from emotion_ray.settings.checks import home_filled_in

FILES_A_TASK = 16  # read by one fetching task
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
        earlier: rejects of earlier runs.
        rejects: of this run, by source and clip_id (the same file may be listed twice).
        listed: the wanted takes of the archives that this run has listed.
    """

    choice: Choice
    archives: dict[str, Archive]
    at_hand: list[Take]
    held: set[str] = field(default_factory=set)
    listings: dict[str, dict] = field(default_factory=dict)
    earlier: list[RejectedTake] = field(default_factory=list)
    rejects: dict[tuple[str, str | None], RejectedTake] = field(default_factory=dict)
    listed: dict[str, list[Take]] = field(default_factory=dict)

    def take_stock(self, folder: Folder) -> None:
        """Looks at what is in the folder.

        Raises:
            EmotionRayError: its shards, rejects or record can't be read.
        """
        self.held = set(read_held(folder))
        self.earlier = read_rejects(folder)
        self.listings = read_listings(folder)

    def work(self) -> list[Work]:
        """What is still to do, in tasks."""
        left = self._missing(self.at_hand)
        work = [Work(takes=tuple(left[i : i + FILES_A_TASK])) for i in range(0, len(left), FILES_A_TASK)]
        if not self.archives:  # then nobody asks for what is done, which takes room where millions are
            return work
        done = self._done()
        for name, archive in self.archives.items():
            wanted = self._listing(archive)
            if (name, None) not in self.rejects and (wanted is None or not done.issuperset(wanted)):
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

    def reject(self, rejected: RejectedTake) -> None:
        self.rejects[rejected.source, rejected.clip_id] = rejected

    def reject_the_slow(self, takes: Iterable[Take], timeout_s: float) -> None:
        """Rejects takes that were given up after `timeout_s` seconds."""
        for take in self._missing(takes):
            what = f"{take.name}: not done after {timeout_s:g} s; look at the video, or raise --take-timeout-s"
            self.reject(RejectedTake.of(take.source, take.clip_id, Reject("worker", "timeout", what)))

    def reject_the_missing(self) -> None:
        """Rejects what killed its worker each time."""
        what = "its worker process died each time: look at the video, or use fewer --workers if memory is short"
        for archive in (work.archive for work in self.work() if work.archive):
            if archive.name not in self.listed:
                fault = Reject("worker", "crashed", f"{archive.name}: {what}")
                self.reject(RejectedTake.of(archive.name, None, fault))
        listed = [take for takes in self.listed.values() for take in takes]
        for take in self._missing([*self.at_hand, *listed]):
            fault = Reject("worker", "crashed", f"{take.name}: {what}")
            self.reject(RejectedTake.of(take.source, take.clip_id, fault))

    def all_rejects(self) -> list[RejectedTake]:
        """This run's rejects, and the earlier ones that it did not try again."""
        tried = [name for name in self.archives if name in self.listed or (name, None) in self.rejects]
        tried += [shown(self.archives[name].url) for name in tried]
        at_hand = {take.source for take in self.at_hand}
        read_anew = {source.split("!")[0] for source in at_hand}
        settled = self._settled()
        kept = {
            (reject.source, reject.clip_id): reject
            for reject in self.earlier
            if reject.clip_id not in self.held
            and reject.source not in at_hand
            and (reject.clip_id or reject.source.split("!")[0] not in read_anew)
            and (reject.clip_id in settled or reject.source.split("!")[0] not in tried)
        }
        return list((kept | self.rejects).values())

    def _missing(self, takes: Iterable[Take]) -> list[Take]:
        return [
            take for take in takes if take.clip_id not in self.held and (take.source, take.clip_id) not in self.rejects
        ]

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


def make_plan(settings: PrepareSettings) -> Plan:
    """What is wanted, whatever is there already; `Plan.take_stock` looks at that.

    Raises:
        EmotionRayError: a wrong setting, or a source that can't be read or has nothing that is wanted.
    """
    modalities = MODALITIES[settings.modality]
    if settings.source == "zenodo":
        actors = parse_actors(settings.actors or "1-10")
        archives = {archive.name: archive for archive in record_archives(actors, settings.base_url)}
        return Plan(Choice(frozenset(actors), modalities), archives, [])
    if "://" in settings.source:
        raise EmotionRayError("--source is zenodo, or a folder or manifest on a disk; a mirror is named by --base-url")
    choice = Choice(frozenset(parse_actors(settings.actors, None)) if settings.actors else None, modalities)
    source = home_filled_in(settings.source)
    if source.suffix.lower() == ".csv":
        takes, rejects = takes_in_manifest(source, choice), []
    else:
        takes, rejects = takes_in_folder(source, choice)
    takes, doubles = without_doubles(takes)
    takes.sort(key=lambda take: take.actor)  # shards are by actor: mixed takes would make a small one each
    if not takes and not rejects:
        of = f" of --actors {settings.actors}" if settings.actors else ""
        raise EmotionRayError(f"{source} has no takes{of} of --modality {settings.modality}: choose others")
    plan = Plan(choice, {}, takes)
    for reject in rejects + doubles:
        plan.reject(reject)
    return plan
