"""knarr's command line and docker's, side by side on one knarrd: the same flags, output, errors and exit codes."""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from knarr.cli.flags import Verb
from knarr.cli.verbs import ALIASES, MISSING, PLUGINS, VERBS, all_verbs
from tests.clients.flagtable import flags
from tests.support.daemons import BIN, Daemon, Knarrd

pytestmark = pytest.mark.timeout(300)  # for one fixture that asks everything

# Flags that docker has and knarr has not, or the other way round, each with its reason.
_BUILD = {
    "explain-cache": "what only knarr can tell",
    "shell-on-fail": "knarr's own",
    "verify": "what only knarr proves",
}
EXTRA = {
    **dict.fromkeys(("build", "builder build", "image build"), _BUILD),
    "create": {"on-unhealthy": "knarr's own wish"},
    "run": {"explain": "what only knarr can tell", "on-unhealthy": "knarr's own wish"},
    "start": {"explain": "what only knarr can tell"},
    "update": {"on-unhealthy": "knarr's own", "publish-add": "live ports", "publish-rm": "live ports"},
}
NOT_DOCKERS = {"bootstrap", "completion", "system dial-stdio"}
ELSEWHERE = {
    "builder": "handed over to buildx",
    "volume update": "a swarm's volumes alone can be updated",
}


@pytest.fixture(scope="module")
def knarrd(running_daemon: Daemon) -> Knarrd:
    """The daemon under test; with --peer there is nothing to test here."""
    if not isinstance(running_daemon, Knarrd):
        pytest.skip("knarr's own command line talks to knarrd")
    return running_daemon


def offered(verb: Verb) -> dict[str, tuple[str, str]]:
    """A verb's flags as flagtable reads docker's."""
    return {
        flag.name: (flag.short, "" if flag.kind == "bool" else flag.kind)
        for flag in verb.flags
        if not flag.hidden and flag.name != "help"
    }


@pytest.mark.parametrize("name", sorted({*VERBS, *ALIASES} - NOT_DOCKERS))
def test_the_same_flags(knarrd: Knarrd, name: str) -> None:
    theirs = flags(knarrd, *name.split())
    theirs.pop("help", None)
    ours = offered(all_verbs()[name])
    for flag in EXTRA.get(name.removeprefix("container "), ()):
        assert ours.pop(flag, None) is not None
    assert ours == theirs


def test_every_command_is_there(knarrd: Knarrd) -> None:
    missing = set()

    def look(*words: str) -> None:
        text = knarrd.docker("-H", "unix:///nowhere.sock", *words, "--help").stdout
        for name in re.findall(r"^  ([a-z]+)\*? {2,}\S", text, re.MULTILINE):
            spoken = " ".join([*words, name])
            if words == () and name in {*MISSING, *PLUGINS, "bake"} - {"builder"}:
                continue
            if spoken in VERBS or spoken in ALIASES or spoken in ELSEWHERE:
                continue
            if not words and name in GROUPS:
                look(name)
            else:
                missing.add(spoken)

    look()
    assert missing == set()


GROUPS = ("container", "context", "image", "network", "system", "volume")
COMMANDS = [
    line.strip()
    for line in """
    ps
    ps -a
    ps -aq
    ps -a --no-trunc
    ps -as
    ps -n 1
    ps -l
    ps -a --format json
    ps -a --format raw
    ps -a --format {{.Names}}|{{.Image}}|{{.Status}}|{{.Labels}}|{{.Networks}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Ports}}
    ps -a --format table\\s{{.Names}}\\t{{.State}}\\t{{.Label\\s"role"}}
    ps -a --format table\\s{{upper\\s.Names}}\\t{{.CreatedAt}}
    ps --filter name=web --format {{json\\s.}}
    ps --filter status=exited -q
    ps --filter nonsense=1
    ps --filter x
    ps --last x
    ps x
    ps --nope
    container ls -q
    container list x
    container rm
    image rm
    image ls --nope
    volume remove
    system info x
    container run --rm --nope busybox
    container run --rm --restart x:y busybox
    images
    images -a --digests
    images -q --no-trunc
    images --format json
    images --format {{.ID}}\\s{{.Repository}}:{{.Tag}}\\s{{.Size}}\\s{{.CreatedAt}}
    images nothing
    image ls busybox
    history busybox
    history -q --no-trunc busybox
    history --human=false --no-trunc busybox
    history --format json busybox
    history nothing
    inspect web
    inspect -f {{.Name}}\\s{{.State.Running}}\\s{{json\\s.Config.Labels}} web done
    inspect -f {{range\\s.Mounts}}{{.Type}}{{end}}{{len\\s.Args}} web
    inspect --type image busybox
    inspect --type nothing busybox
    inspect nothing
    container inspect nothing
    image inspect -f {{.RepoTags}} busybox
    network ls
    network ls --no-trunc --format {{.ID}}\\s{{.Name}}\\s{{.Internal}}\\s{{.Labels}}
    network ls --format json
    network ls -q --filter driver=bridge
    network inspect net
    network inspect -f {{.Name}}\\s{{.IPAM.Driver}} net bridge
    network inspect nothing
    network rm nothing
    network nope
    volume ls
    volume ls -q
    volume ls --format json
    volume ls --format {{.Name}}\\s{{.Driver}}\\s{{.Labels}}
    volume inspect vol
    volume inspect nothing
    volume rm nothing
    volume create --driver nothing x
    system df
    system df --format json
    system df -v
    info --format {{.Driver}}\\s{{.NCPU}}\\s{{.OSType}}
    version --format {{.Server.Version}}\\s{{.Server.Os}}
    top web
    top web -o pid,comm
    top done
    port web
    port web 80
    port web 81
    logs web
    logs -n 1 done
    logs nothing
    diff done
    diff nothing
    exec web echo hi
    exec web sh -c exit\\s7
    exec web nothing-like-that
    exec done true
    exec nothing true
    stop nothing
    rm nothing
    rm -f nothing
    rm web
    kill done
    kill -s NOPE web
    pause done
    unpause web
    rename web
    rename nothing x
    wait done
    wait nothing
    tag nothing x
    rmi nothing
    rmi -f nothing
    update web
    update -m 4m web
    update --cpus x web
    cp a b
    cp web:/nothing -
    commit nothing
    events --since 1 --until 2
    run
    run --nope busybox
    run --rm busybox sh -c echo\\sout;echo\\serr\\s>&2;exit\\s3
    run --rm busybox nothing-like-that
    run --rm busybox /etc/passwd
    run --rm --pull never nothing
    run --rm --pull x busybox
    run --rm --name web busybox
    run --rm -m 1q busybox
    run --rm -m 1m busybox
    run --rm --cpu-count 1 busybox
    run --rm --mount type=bind busybox
    run --rm --ulimit x busybox
    run --rm --add-host x busybox
    run --rm --restart always busybox
    run --rm --health-interval 1 busybox
    run --rm --network name=a,nope=b busybox
    run --rm --network nothing busybox true
    run --rm --env-file /nothing busybox
    run --rm -p 99999:1 busybox
    run --rm -e A=1 -e TERM_X busybox env
    inspect -f {{.Nope}} web
    inspect -f {{.Id web
    ps --format {{.Nope
    start nothing
    events --since nonsense
    network create --gateway 10.9.8.1 zz
    network create --subnet 10.9.9.0/24 --gateway 10.9.8.1 zz
    update --restart nope:x web
    run -it --rm busybox true
    run --rm --volumes-from nothing busybox
    run --rm --device /nothing busybox
    run --rm -v a:b:c:d busybox
    run --rm -v /a:b busybox
    run --rm -w x busybox
    run --rm -u nobody-like-that busybox
    run --rm --gpus x=1 busybox
    run --rm --pid x busybox
    run --rm --cap-add NOPE busybox
    run --rm --security-opt seccomp=/nothing busybox
    run --rm --log-driver none --log-opt a=b busybox
    run --rm --sysctl a=b busybox
    run --rm --restart x:y:z busybox
    run --rm --dns x busybox
    run --rm --ip 1.2.3.4 busybox true
    run --rm --network-alias a busybox true
    run --rm --stop-signal NOPE busybox true
    run --rm -l =x busybox
    run --rm --expose x busybox
    run --rm --mac-address x busybox
    run --rm --device-read-bps /dev/x:y busybox
    run --rm --ulimit nofile=5:1 busybox
    run --rm --mount type=tmpfs,dst=/b,tmpfs-mode=9 busybox
    run --rm --mount type=volume,dst=/b,bind-propagation=x busybox
    run --rm --network bridge --network net busybox
    run --rm Busybox
    create --name ! busybox
    create -a nope busybox
    login --password-stdin
    logout 127.0.0.1:1
    context ls
    context inspect
    context show
    context inspect nothing
    context rm nothing
    save nothing
    load -i /nothing
    import /nothing
    nope
    container nope
    volume prune --filter x
    -l nope ps
    -c nothing ps
    -H unix:///nowhere.sock ps
    -H unix:///nowhere.sock run busybox
    """.splitlines()
    if line.strip()
]


class Answer(NamedTuple):
    """What a program says, in docker's name, without what no two calls have in common."""

    code: int
    stdout: str
    stderr: str


def ask(daemon: Knarrd, program: str, line: str) -> Answer:
    """Runs one line by either program."""
    words = [word.replace("\\s", " ") for word in line.split(" ")]
    argv = [str(BIN / "knarr") if program == "knarr" else "docker", *words]
    done = subprocess.run(
        argv,
        env=daemon.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Answer(done.returncode, same(done.stdout), same(done.stderr))


def same(text: str) -> str:
    """Names of the program, ids of what was made for the call, spans of time."""
    text = re.sub(r"knarr\b(?!d|/|-)", "docker", text.replace("Docker daemon", "docker daemon"))
    text = re.sub(r"\b(About a(n)? \w+|Less than a second|\d+ (second|minute|hour)s?)( ago)?", "SPAN", text)
    text = re.sub(r'container "[0-9a-f]{64}"', 'container "ID"', text)
    text = re.sub(r" {2,}", "  ", text)
    return re.sub(r"^HOSTNAME=.*$|\b[0-9a-f]{12}[0-9a-f]*(?= SPAN)", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def everything(knarrd: Knarrd) -> Iterator[dict[str, tuple[Answer, Answer]]]:
    """What both say to each command, on things that stay the same meanwhile."""
    docker = knarrd.docker
    docker("volume", "create", "--label", "l=v", "vol")
    docker("network", "create", "--subnet", "10.231.66.0/24", "--label", "l=v", "net")
    words = (
        "-d",
        "--name",
        "web",
        "--label",
        "role=front",
        "-p",
        "127.0.0.1:18080-18081:80-81",
        "-v",
        "vol:/data",
    )
    docker("run", *words, "busybox", "sh", "-c", "echo ready; exec sleep 1000")
    docker(
        "run", "--name", "done", "--network", "net", "busybox", "sh", "-c", "touch /made; echo one; echo two"
    )
    try:
        with ThreadPoolExecutor(2) as pool:

            def both(line: str) -> tuple[Answer, Answer]:
                theirs, ours = pool.map(lambda program: ask(knarrd, program, line), ("docker", "knarr"))
                return theirs, ours

            yield {line: both(line) for line in COMMANDS}
    finally:
        knarrd.remove_containers()
        docker("network", "rm", "net")
        docker("volume", "rm", "vol")


@pytest.mark.parametrize("line", COMMANDS)
def test_the_same_answer(everything: dict[str, tuple[Answer, Answer]], line: str) -> None:
    theirs, ours = everything[line]
    assert ours == theirs
