"""Runs a program as a systemd unit would confine it, where systemd itself cannot be process 1.

    confine.py UNIT UID --bind FROM=TO … -- COMMAND …

Applies, by the same means as systemd (namespaces, mounts, capabilities, limits, a seccomp filter made
of systemd's own groups of system calls), what the [Service] section of UNIT says. A directive that it
does not know is an error, so that none is believed to be tested which is not. Needs root.
"""
import ctypes
import errno
import os
import resource
import subprocess
import sys

import seccomp

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00000080)
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24

# What starts, stops and watches the service, and not what confines it.
NOT_CONFINING = {
    "Type", "User", "Group", "EnvironmentFile", "ExecStart", "ExecReload", "Restart", "RestartSec",
    "RestartPreventExitStatus", "TimeoutStopSec", "StateDirectory", "StateDirectoryMode", "LogsDirectory",
    "LogsDirectoryMode", "Sockets",
}
# Confining, and not imitated here: they need systemd's control group, or its session.
NOT_IMITATED = {"OOMPolicy", "MemoryMax", "DevicePolicy", "KeyringMode", "RemoveIPC", "AmbientCapabilities"}


def read(unit):
    found = {}
    section = None
    for line in open(unit, encoding="utf-8"):
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, data=None):
    encode = lambda text: None if text is None else text.encode()
    check(LIBC.mount(encode(source), encode(target), encode(kind), flags, encode(data)), f"mount {target}")


def members(group):
    """The system calls of a group of systemd's, groups in it included."""
    if not group.startswith("@"):
        return {group}
    text = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True).stdout
    calls = set()
    for line in text.splitlines()[1:]:
        name = line.split("#")[0].strip()
        if name:
            calls |= members(name)
    return calls


def mounts(settings, binds):
    check(LIBC.unshare(CLONE_NEWNS), "unshare mounts")
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    # Everything of the test lies below one folder that no directive hides.
    mount("tmpfs", "/srv", "tmpfs")
    for source, target, _ in binds:
        os.makedirs(target)
        mount(source, target, None, MS_BIND)
    if settings.pop("PrivateTmp") == ["yes"]:
        for target in ("/tmp", "/var/tmp"):
            mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    if settings.pop("PrivateDevices") == ["yes"]:
        names = ("null", "zero", "full", "random", "urandom", "tty")
        numbers = {name: os.stat(f"/dev/{name}").st_rdev for name in names}
        mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
        for name, number in numbers.items():
            os.mknod(f"/dev/{name}", 0o20666, number)
            os.chmod(f"/dev/{name}", 0o666)
    if settings.pop("ProtectHome") == ["yes"]:
        for target in ("/home", "/root", "/run/user"):
            if os.path.isdir(target):
                mount("tmpfs", target, "tmpfs", MS_RDONLY | MS_NOSUID, "mode=000")
    proc = {"ProtectProc": "hidepid={}", "ProcSubset": "subset={}"}
    options = ",".join(form.format(settings.pop(name)[0]) for name, form in proc.items())
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    if settings.pop("ProtectSystem") == ["strict"]:
        writable = {"/proc", "/dev"} | {target for _, target, mode in binds if mode == "rw"}
        private = {"/tmp", "/var/tmp"}
        for line in open("/proc/self/mountinfo", encoding="utf-8"):
            target = line.split()[4].replace("\\040", " ")
            if target in writable | private or target.startswith(("/proc/", "/dev/")):
                continue
            result = LIBC.mount(None, target.encode(), None, MS_REMOUNT | MS_BIND | MS_RDONLY, None)
            # What is hidden below another mount cannot be reached, which is all that is wanted.
            if result != 0 and ctypes.get_errno() not in (errno.ENOENT, errno.EINVAL):
                check(result, f"make {target} read-only")
    # All of these are read-only by now, or gone: /sys, /proc/sys, /sys/fs/cgroup.
    for name in ("ProtectKernelTunables", "ProtectControlGroups", "PrivateMounts"):
        assert settings.pop(name) == ["yes"], name


def users(settings, uid):
    """Maps root and the user of the service alone: another process has to write that down."""
    if settings.pop("PrivateUsers") != ["yes"]:
        return
    ready, written = os.pipe(), os.pipe()
    service = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{service}/{name}", "w", encoding="ascii") as file:
                file.write(f"0 0 1\n{uid} {uid} 1\n")
        os.write(written[1], b"x")
        os._exit(0)
    check(LIBC.unshare(CLONE_NEWUSER), "unshare users")
    os.write(ready[1], b"x")
    assert os.read(written[0], 1) == b"x", "the maps of users could not be written"
    os.waitpid(helper, 0)
    for end in (*ready, *written):
        os.close(end)


def privileges(settings, uid):
    assert settings.pop("CapabilityBoundingSet") == [""] and settings.pop("NoNewPrivileges") == ["yes"]
    os.umask(int(settings.pop("UMask")[0], 8))
    core, files, tasks = (int(settings.pop(name)[0]) for name in ("LimitCORE", "LimitNOFILE", "TasksMax"))
    resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    files = min(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, files), files))
    # By user, in place of by control group.
    resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def calls(settings):
    allowed, refused = set(), set()
    for value in settings.pop("SystemCallFilter"):
        into = refused if value.startswith("~") else allowed
        for group in value.lstrip("~").split():
            into |= members(group)
    refused_with = getattr(errno, settings.pop("SystemCallErrorNumber")[0])
    # systemd lets these through whatever is said: without them nothing could be started.
    allowed = (allowed | members("@default")) - refused
    known = {name for name in allowed if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) >= 0}
    rules = seccomp.SyscallFilter(seccomp.ERRNO(refused_with))
    special = set()
    for name in ("ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"):
        assert settings.pop(name) == ["yes"], name
    assert not known & {"clock_settime", "sethostname", "syslog", "init_module"}
    if settings.pop("RestrictRealtime") == ["yes"]:
        assert "sched_setscheduler" not in known
    if settings.pop("LockPersonality") == ["yes"]:
        special.add("personality")
    if settings.pop("RestrictNamespaces") == ["yes"]:
        special |= {"unshare", "setns", "clone", "clone3"}
        mask = 0
        for flag in NEW_NAMESPACES:
            mask |= flag
        rules.add_rule(seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, mask, 0))
        # Its flags lie in memory, where no filter can look: programs fall back to clone.
        rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    if settings.pop("RestrictSUIDSGID") == ["yes"]:
        special |= {"chmod", "fchmod", "fchmodat"}
        for name, at in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2)):
            rules.add_rule(seccomp.ALLOW, name, seccomp.Arg(at, seccomp.MASKED_EQ, 0o6000, 0))
    special.add("socket")
    for family in settings.pop("RestrictAddressFamilies")[0].split():
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, FAMILIES[family]))
    assert settings.pop("SystemCallArchitectures") == ["native"]
    for name in known - special:
        rules.add_rule(seccomp.ALLOW, name)
    return rules


def main():
    unit, uid, *rest = sys.argv[1:]
    options, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    binds = [tuple(option.removeprefix("--bind=").split("=")) for option in options]
    settings = {name: value for name, value in read(unit).items() if name not in NOT_CONFINING | NOT_IMITATED}
    rules = calls(settings)
    mounts(settings, binds)
    users(settings, int(uid))
    privileges(settings, int(uid))
    assert not settings, f"directives that are not known here: {sorted(settings)}"
    rules.load()
    os.execv(command[0], command)


main()
