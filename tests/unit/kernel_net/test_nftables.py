"""libnftables' errors, and life without it."""

import errno

import pytest

from knarr.kernel import nftables
from knarr.network.errors import FirewallMissing
from knarr.network.firewall import Firewall


def test_a_syntax_error_bears_the_words_of_nft() -> None:
    nft = nftables.Nftables()
    with pytest.raises(nftables.NftablesError, match="syntax error") as failure:
        nft.run("add nonsense")
    assert failure.value.errno == errno.EINVAL
    nft.close()
    nft.close()
    for use in (nft.run, nft.list):
        with pytest.raises(OSError, match="closed"):
            use("list tables")


def test_a_missing_library_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "LIBRARY", "libnothing.so.9")
    with pytest.raises(FirewallMissing, match="install the package libnftables1"):
        Firewall()
