"""The commands of README.md's code blocks, and how `readme_commands.py` runs each: small, or why not at all."""

import re
from dataclasses import dataclass

OUTPUT = "text"  # the language of blocks that show what a job says
MAP = "emotion_ray/"  # with what the block begins that is a map and no command
SMALL = "--frames 16"
ONE_ACTOR = f"jobs/prepare.py --actors 1 --base-url {{mirror}} {SMALL}"


@dataclass(frozen=True)
class As:
    """How a command is run here.

    Attributes:
        command: with names in braces, of folders and addresses that this script makes.
        makes: a file or folder that must be there when it has ended.
        stays: it is a service, and runs until all others have.
    """

    command: str
    makes: str = ""
    stays: bool = False


RUNS: dict[str, As | str] = {
    "emotion-ray doctor": As("emotion-ray doctor"),
    "emotion-ray reproduce --actors 1-10": As(
        f"emotion-ray reproduce --actors 1-4 --base-url {{mirror}} {SMALL} --root {{work}}/reproduced --epochs 1 "
        "--trials 1 --no-cost --yes",
        "{work}/reproduced/runs",
    ),
    "emotion-ray export --clips clips/ --png faces/": As(
        "emotion-ray export --clips clips/ --png faces/", "{work}/faces"
    ),
    "emotion-ray prepare --actors 1-10": As(
        f"emotion-ray prepare --actors 1-4 --base-url {{mirror}} {SMALL}", "{home}/clips/contact_sheet.png"
    ),
    "emotion-ray prepare --source videos/ --detector exact": As(
        f"emotion-ray prepare --source videos/ --detector exact {SMALL} --out exact/", "{work}/exact/prepared.json"
    ),
    "emotion-ray prepare --source takes.csv --out clips/": As(
        f"emotion-ray prepare --source takes.csv --out clips/ {SMALL}", "{work}/clips/prepared.json"
    ),
    "ray job submit --working-dir . -- jobs/prepare.py --actors 1-24": As(
        f"ray job submit --working-dir . -- {ONE_ACTOR} --out {{work}}/job",
        "{work}/job/prepared.json",
    ),
    "emotion-ray train --model both": As(
        "emotion-ray train --model both --epochs 1 --run readme", "{home}/models/readme-attention/MODEL_CARD.md"
    ),
    "emotion-ray tune --model attention --trials 20": As(
        "emotion-ray tune --model attention --trials 2 --epochs 1 --run sweep", "{home}/models/sweep/model.json"
    ),
    "emotion-ray evaluate --model both": As(
        "emotion-ray evaluate --model both --epochs 1 --no-cost --run report", "{home}/runs/report/report.html"
    ),
    "emotion-ray evaluate --tuned my-sweep --seeds 3": As(
        "emotion-ray evaluate --model none --tuned sweep --no-control --no-cost --protocol random --run retrained",
        "{home}/runs/retrained/report.html",
    ),
    "emotion-ray evaluate --stored my-model --clips clips/": As(
        "emotion-ray evaluate --stored readme-lstm --clips clips/ --run stored", "{home}/runs/stored/report.html"
    ),
    "ray job submit --working-dir . -- jobs/train.py --model lstm": As(
        "ray job submit --working-dir . -- jobs/train.py --model lstm --epochs 1 --run trained",
        "{home}/models/trained/model.json",
    ),
    "ray job submit --working-dir . -- jobs/evaluate.py --model both": As(
        "ray job submit --working-dir . -- jobs/evaluate.py --model both --epochs 1 --no-cost --protocol random "
        "--run tested",
        "{home}/runs/tested/report.html",
    ),
    "ray job submit --working-dir . -- jobs/tune.py --model attention": As(
        "ray job submit --working-dir . -- jobs/tune.py --model attention --trials 2 --epochs 1 --run job",
        "{home}/models/job/model.json",
    ),
    "emotion-ray predict take.mp4": As("emotion-ray predict take.mp4", "{work}/take_annotated.mp4"),
    "emotion-ray predict videos/ --model my-model --out annotated/": As(
        "emotion-ray predict videos/ --model readme-lstm --out annotated/", "{work}/annotated"
    ),
    "emotion-ray predict --camera 0 --seconds 20": "it needs a camera",
    "emotion-ray serve": As("emotion-ray serve --port {port}", stays=True),
    "curl -F video=@take.mp4 http://127.0.0.1:8000/v1/predict": As(
        "curl --fail --silent --show-error -F video=@take.mp4 http://127.0.0.1:{port}/v1/predict -o answer.json",
        "{work}/answer.json",
    ),
    "python jobs/online_inference.py --video take.mp4 --model_type lstm --model_path model.pth": As(
        "python jobs/online_inference.py --video take.mp4 --model_type lstm "
        "--model_path {home}/models/readme-lstm/model.pth --out online/",
        "{work}/online/take_annotated.mp4",
    ),
    "ray up cluster/local.yaml": "it needs machines with ssh; tests/test_cluster_files.py checks the file",
    "ray dashboard cluster/local.yaml": "it needs the cluster of the command before",
    "export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265": "it is set for all jobs here, to this script's own Ray",
    "ray job submit --working-dir . -- jobs/prepare.py --actors 1-24 --root /mnt/shared/emotion_ray": As(
        f"ray job submit --working-dir . -- {ONE_ACTOR} --root {{work}}/root",
        "{work}/root/clips/prepared.json",
    ),
}
"""By README's words: how it is run here, or why it is not."""


def readme_commands(text: str) -> list[str]:
    """The commands of a README's code blocks without their comments; a block of Python is one, of output none."""
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if language == "python":
            found.append(block)
        elif language != OUTPUT and not block.startswith(MAP):
            found += [" ".join(one.split(" #")[0].split()) for one in block.splitlines() if one.strip()]
    return found


def is_python(command: str) -> bool:
    return command.endswith("\n")
