"""ADD and COPY: files of the context, of another stage, of the Dockerfile itself, or from elsewhere, as a file operation."""

from dataclasses import dataclass, replace

from knarr.build import operations as ops
from knarr.build.dockerfile import checks
from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile.building import Building, normalise
from knarr.build.dockerfile.contexts import inline
from knarr.build.dockerfile.drafts import FileDraft, Output, SourceDraft, merged, owner
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import clean, join, quote
from knarr.build.dockerfile.ignore import Matcher
from knarr.build.dockerfile.naming import expanded
from knarr.build.dockerfile.remotes import (
    GitReference,
    check_digest,
    git_source,
    http_filename,
    http_source,
    is_git,
    is_http,
    parse_git,
)  # fmt: skip
from knarr.build.dockerfile.units import Step, Unit
from knarr.build.dockerfile.values import parse_mode
from knarr.build.graph import About, Group


def copy(unit: Unit, step: Step, command: i.Transfer, building: Building) -> None:
    """Adds the operation to the stage, and notes which paths it needs."""
    command = _expanded(unit, command, building)
    source: Output = building.context
    matcher = building.matcher
    if step.sources:
        unit_from = step.sources[0]
        if not unit_from.dispatched:
            raise DockerfileError(
                f"cannot copy from stage {quote(command.source_stage)}, it needs to be defined before current stage {quote(unit.label)}"
            )
        source, matcher = unit_from.state.output, None
    _Transfer(unit, command, source, matcher, building).add()
    paths = step.sources[0].paths if step.sources else unit.context_paths
    paths |= {
        join("/", path)
        for path in command.sources
        if not command.add or not path.startswith(("http://", "https://"))
    }


def _expanded(unit: Unit, command: i.Transfer, building: Building) -> i.Transfer:
    expand = building.expander(unit, command)
    chown, chmod = expand(command.chown), expand(command.chmod)
    checksum = expand(command.checksum)
    sources = tuple(expand(source) for source in command.sources)
    dest = expand(command.dest)
    inlines = tuple(
        one._replace(text=building.expand_text(unit, command, one.text)) if one.expand else one
        for one in command.inlines
    )
    return replace(
        command, chown=chown, chmod=chmod, checksum=checksum, sources=sources, dest=dest, inlines=inlines
    )


@dataclass(slots=True)
class _Transfer:
    unit: Unit
    command: i.Transfer
    source: Output
    matcher: Matcher | None
    building: Building

    def add(self) -> None:
        unit, command = self.unit, self.command
        dest = normalise(unit.state.cwd, "./" if command.dest in ("", ".") else command.dest, keep_slash=True)
        mode, mode_text = parse_mode(command.chmod)
        self._check_checksum()
        template = ops.Copy(
            "",
            _act_path(dest),
            owner(command.chown),
            mode,
            mode_text,
            create_dest=True,
            exclude=command.exclude,
        )
        text = expanded(command.said.code, self.building.lexer, unit.state.env)
        name = self.building.step_name(unit, text, unit.platform or self.building.target)
        acts: list[tuple[ops.Act, Output]] = [self._act(path, template, name) for path in command.sources]
        for one in command.inlines:
            path = one.path if one.path.startswith("/") else f"/{one.path}"
            acts.append((replace(template, src=clean(path)), inline(clean(path), one.text, 0o644)))
        self._finish(acts, name, text)
        self.building.record(unit, self._history(), layer=True)

    def _finish(self, acts: list[tuple[ops.Act, Output]], name: str, text: str) -> None:
        unit, command, state = self.unit, self.command, self.unit.state
        about = About(name, "", command.said.lines, ignore_cache=unit.ignore_cache)
        if not command.link or command.chmod:
            unit.state = state.with_output(FileDraft(state.output, acts, about))
            return
        platform = unit.platform or self.building.target
        self.building.groups += 1
        group = Group(f"link-{self.building.groups}", name, weak=True)
        unit.number -= 1
        merge_name = self.building.step_name(unit, f"LINK {text}", platform)
        files = FileDraft(None, acts, replace(about, group=group))
        merge = replace(about, name=merge_name, group=group._replace(weak=False))
        unit.state = state.with_output(merged((state.output, files), merge))

    def _check_checksum(self) -> None:
        command = self.command
        if not command.checksum:
            return
        if len(command.sources) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        if not is_http(command.sources[0]) and not is_git(command.sources[0]):
            raise DockerfileError("checksum requires HTTP(S) or Git sources")

    def _act(self, path: str, template: ops.Copy, name: str) -> tuple[ops.Act, Output]:
        reference = parse_git(path)
        if reference is not None and not reference.like_local:
            if not self.command.add:
                raise DockerfileError("source can't be a git ref for COPY")
            return replace(template, src="/"), self._git(reference, name)
        if is_http(path):
            if not self.command.add:
                raise DockerfileError("source can't be a URL for COPY")
            return self._http(path, template, name)
        return self._local(path, template), self.source

    def _git(self, reference: GitReference, name: str) -> SourceDraft:
        command = self.command
        keep = command.keep_git_dir
        if keep is not None and reference.keep_git_dir not in (None, keep):
            raise DockerfileError("inconsistent keep-git-dir configuration")
        keep = keep if reference.keep_git_dir is None else reference.keep_git_dir
        if command.checksum and reference.checksum and command.checksum != reference.checksum:
            raise DockerfileError(
                f"checksum mismatch {quote(command.checksum)} != {quote(reference.checksum)}"
            )
        # ADD ignores ?mtime=, which only a context's address has.
        source = git_source(reference._replace(mtime=""), command.checksum, bool(keep))
        return SourceDraft(source, About(name))

    def _http(self, url: str, template: ops.Copy, name: str) -> tuple[ops.Act, Output]:
        filename = http_filename(url)
        checksum = check_digest(self.command.checksum) if self.command.checksum else ""
        act = replace(template, src=join("/", filename), unpack=bool(self.command.unpack))
        return act, SourceDraft(http_source(url, filename, checksum), About(name))

    def _local(self, path: str, template: ops.Copy) -> ops.Copy:
        command = self.command
        self._check_ignored(path)
        include: tuple[str, ...] = ()
        required: tuple[str, ...] = ()
        if command.parents:
            parent, pivot, pattern = path.partition("/./")
            path, pattern = (parent, pattern) if pivot else ("/", path)
            pattern = normalise("/", pattern)
            include = (pattern.removeprefix("/"),)
            if not _has_wildcards(path) and not _has_wildcards(pattern):
                required = (normalise("/", join(path, pattern)),)
        return replace(
            template,
            src=join("/", clean(normalise("/", path))),
            follow_symlink=True,
            contents_only=True,
            include=include,
            required=required,
            unpack=command.add if command.unpack is None else command.unpack,
            wildcard=True,
            empty_wildcard=True,
        )

    def _check_ignored(self, path: str) -> None:
        if self.matcher is None or self.matcher.takes_back:
            return
        path = clean(path)
        if path in (".", "/") and not self.matcher.excludes_everything():
            return
        try:
            excluded = self.matcher.excludes(path)
        except DockerfileError:
            return  # whoever sends the files tells of it
        if excluded:
            kind = "Add" if self.command.add else "Copy"
            message = f"Attempting to {kind} file {quote(path)} that is excluded by .dockerignore"
            self.building.lint.run(checks.COPY_IGNORED_FILE, self.command.said.lines, message)

    def _history(self) -> str:
        command = self.command
        words = ["ADD" if command.add else "COPY"]
        words += ["--parents"] if command.parents else []
        words += [f"--chown={command.chown}"] if command.chown else []
        words += [f"--chmod={command.chmod}"] if command.chmod else []
        words += [*command.sources, *(f"<<{one.path}" for one in command.inlines), command.dest, "# buildkit"]
        return " ".join(words)


def _act_path(path: str) -> str:
    """A destination as the operation has it: clean, with what its end says."""
    cleaned = clean(path)
    if path.endswith("/"):
        return cleaned if cleaned.endswith("/") else f"{cleaned}/"
    if path.endswith("/."):
        return f"{cleaned}." if cleaned == "/" else f"{cleaned}/."
    return cleaned


def _has_wildcards(text: str) -> bool:
    index = 0
    while index < len(text):
        if text[index] in "*?[":
            return True
        index += 2 if text[index] == "\\" else 1
    return False
