"""The command table: every command with its flags, in runc's words. Pure data; what each does is in `verbs`."""

from knarr.runtime.oci.arguments import LIST, NUMBER, SWITCH, TEXT, Command, Flag

OCI_VERSION = "1.3.0"

OPTIONS = (
    Flag("debug", SWITCH, "enable debug logging"),
    Flag("log", TEXT, "set the log file to write logs to (default is '/dev/stderr')"),
    Flag("log-format", TEXT, "set the log format ('text' (default), or 'json')"),
    Flag("root", TEXT, "root directory for storage of container state (this should be located in tmpfs)"),
    Flag("criu", TEXT, "(ignored)", hidden=True),
    Flag("systemd-cgroup", SWITCH, "(refused: cgroups are managed by their files)"),
    Flag("rootless", TEXT, "ignore cgroup permission errors ('true', 'false', or 'auto')"),
    Flag("zygote", TEXT, "path of the socket of a warm `zygote`, which carries the command out"),
    Flag("version", SWITCH, "print the version", "v"),
)

_BUNDLE = Flag(
    "bundle", TEXT, "path to the root of the bundle directory, defaults to the current directory", "b"
)
_CONSOLE = Flag(
    "console-socket",
    TEXT,
    "path to an AF_UNIX socket which will receive a file descriptor referencing the master end of the console's pseudoterminal",
)
_PIDFD = Flag(
    "pidfd-socket",
    TEXT,
    "path to an AF_UNIX socket which will receive a file descriptor referencing the process",
)
_PID_FILE = Flag("pid-file", TEXT, "specify the file to write the process id to")
_PRESERVE = Flag(
    "preserve-fds",
    NUMBER,
    "Pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)",
)
_DETACH = Flag("detach", SWITCH, "detach from the container's process", "d")
_FORMAT = Flag("format", TEXT, "select one of: table or json", "f")
_MAKING = (
    _BUNDLE,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    Flag("no-pivot", SWITCH, "do not use pivot root to jail process inside rootfs"),
    Flag("no-new-keyring", SWITCH, "do not create a new session keyring for the container"),
    _PRESERVE,
)

_UPDATES = (
    Flag(
        "resources",
        TEXT,
        "path to the file containing the resources to update or '-' to read from the standard input",
        "r",
    ),
    Flag("blkio-weight", NUMBER, "Specifies per cgroup weight, range is from 10 to 1000"),
    Flag("cpu-period", TEXT, "CPU CFS period to be used for hardcapping (in usecs). 0 to use system default"),
    Flag("cpu-quota", TEXT, "CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period"),
    Flag("cpu-burst", TEXT, "CPU CFS hardcap burst limit (in usecs)"),
    Flag("cpu-share", TEXT, "CPU shares (relative weight vs. other containers)"),
    Flag("cpu-rt-period", TEXT, "CPU realtime period to be used for hardcapping (in usecs)"),
    Flag("cpu-rt-runtime", TEXT, "CPU realtime hardcap limit (in usecs)"),
    Flag("cpuset-cpus", TEXT, "CPU(s) to use"),
    Flag("cpuset-mems", TEXT, "Memory node(s) to use"),
    Flag("kernel-memory", TEXT, "(obsoleted; do not use)", hidden=True),
    Flag("kernel-memory-tcp", TEXT, "(obsoleted; do not use)", hidden=True),
    Flag("memory", TEXT, "Memory limit (in bytes)"),
    Flag("cpu-idle", TEXT, "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE"),
    Flag("memory-reservation", TEXT, "Memory reservation or soft_limit (in bytes)"),
    Flag("memory-swap", TEXT, "Total memory usage (memory + swap); set '-1' to enable unlimited swap"),
    Flag("pids-limit", NUMBER, "Maximum number of pids allowed in the container"),
    Flag("l3-cache-schema", TEXT, "The string of Intel RDT/CAT L3 cache schema"),
    Flag("mem-bw-schema", TEXT, "The string of Intel RDT/MBA memory bandwidth schema"),
)

COMMANDS = (
    Command("checkpoint", "checkpoint a running container (not supported)", raw=True),
    Command("create", "create a container", _MAKING),
    Command(
        "delete",
        "delete any resources held by the container often used with detached container",
        (
            Flag(
                "force",
                SWITCH,
                "Forcibly deletes the container if it is still running (uses SIGKILL)",
                "f",
            ),
        ),
    ),
    Command(
        "events",
        "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
        (
            Flag("interval", TEXT, "set the stats collection interval (default: 5s)"),
            Flag("stats", SWITCH, "display the container's stats then exit"),
        ),
    ),
    Command(
        "exec",
        "execute new process inside the container",
        (
            _CONSOLE,
            _PIDFD,
            Flag("cwd", TEXT, "current working directory in the container"),
            Flag("env", LIST, "set environment variables", "e"),
            Flag("tty", SWITCH, "allocate a pseudo-TTY", "t"),
            Flag("user", TEXT, "UID (format: <uid>[:<gid>])", "u"),
            Flag("additional-gids", LIST, "additional gids", "g"),
            Flag("process", TEXT, "path to the process.json", "p"),
            _DETACH,
            _PID_FILE,
            Flag(
                "process-label",
                TEXT,
                "set the asm process label for the process commonly used with selinux",
            ),
            Flag("apparmor", TEXT, "set the apparmor profile for the process"),
            Flag("no-new-privs", SWITCH, "set the no new privileges value for the process"),
            Flag("cap", LIST, "add a capability to the bounding set for the process", "c"),
            _PRESERVE,
            Flag(
                "cgroup",
                LIST,
                "run the process in an (existing) sub-cgroup(s). Format is [<controller>:]<cgroup>.",
            ),
            Flag("ignore-paused", SWITCH, "allow exec in a paused container"),
        ),
        most=None,
        stops=True,
    ),
    Command("features", "show the enabled features", least=0, most=0),
    Command(
        "kill",
        "kill sends the specified signal (default: SIGTERM) to the container's init process",
        (Flag("all", SWITCH, "(obsoleted, do not use)", "a", hidden=True),),
        most=2,
        stops=True,
    ),
    Command(
        "list",
        "lists containers started with the given root",
        (_FORMAT, Flag("quiet", SWITCH, "display only container IDs", "q")),
        least=0,
        most=0,
    ),
    Command("pause", "pause suspends all processes inside the container"),
    Command("ps", "ps displays the processes running inside a container", (_FORMAT,), most=None, stops=True),
    Command("restore", "restore a container from a previous checkpoint (not supported)", raw=True),
    Command("resume", "resumes all processes that have been previously paused"),
    Command(
        "run",
        "create and run a container",
        (
            *_MAKING,
            _DETACH,
            Flag("keep", SWITCH, "do not delete the container after it exits"),
            Flag(
                "no-subreaper",
                SWITCH,
                "disable the use of the subreaper used to reap reparented processes",
            ),
        ),
    ),
    Command(
        "spec",
        "create a new specification file",
        (_BUNDLE, Flag("rootless", SWITCH, "generate a configuration for a rootless container")),
        least=0,
        most=0,
    ),
    Command("start", "executes the user defined process in a created container"),
    Command("state", "output the state of a container"),
    Command("update", "update container resource constraints", _UPDATES),
    Command(
        "zygote",
        "keep a warm process that carries out the commands of callers with --zygote",
        (Flag("listen", TEXT, "path of the AF_UNIX socket to listen on"),),
        least=0,
        most=0,
    ),
)
