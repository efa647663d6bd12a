"""The processors that are emulated, each with what it tells a program about itself."""

from __future__ import annotations

from dataclasses import dataclass

HWCAP = (
    *(
        "fp",
        "asimd",
        "evtstrm",
        "aes",
        "pmull",
        "sha1",
        "sha2",
        "crc32",
        "atomics",
        "fphp",
        "asimdhp",
        "cpuid",
    ),
    *("asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512", "sve"),
)
"""The names that Linux gives, in /proc/cpuinfo, to the bits of an ARM64 processor's HWCAP, from the lowest."""

ARMV8 = ("fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")
ARMV8_2 = (*ARMV8, "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp")

CPUS = 4
"""As all boards have that these processors are known from."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`name` as qemu knows the processor, `board` one that has it; `part` and `revision` are Arm's numbers in its
    identification register. `features` are those that the emulated processor has: of the processor's own, all that
    runtimes choose their kernels by."""

    name: str
    board: str
    part: int
    variant: int
    revision: int
    features: tuple[str, ...]

    @property
    def hwcap(self) -> int:
        """What the kernel tells programs by `getauxval(AT_HWCAP)`."""
        return sum(1 << HWCAP.index(feature) for feature in self.features)

    @property
    def cpuinfo(self) -> str:
        """/proc/cpuinfo of a machine with this processor. Runtimes read it, and would find that of this machine."""
        lines = (
            "BogoMIPS\t: 108.00",
            f"Features\t: {' '.join(self.features)}",
            "CPU implementer\t: 0x41",
            "CPU architecture: 8",
            f"CPU variant\t: {self.variant:#x}",
            f"CPU part\t: {self.part:#x}",
            f"CPU revision\t: {self.revision}",
        )
        return "".join("\n".join((f"processor\t: {index}", *lines, "", "")) for index in range(CPUS))


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="cortex-a53", board="Raspberry Pi 3", part=0xD03, variant=0, revision=4, features=ARMV8),
        Profile(name="cortex-a72", board="Raspberry Pi 4", part=0xD08, variant=0, revision=3, features=ARMV8),
        Profile(
            name="cortex-a76", board="Raspberry Pi 5", part=0xD0B, variant=4, revision=1, features=ARMV8_2
        ),
    )
}
"""Every profile there is, by name."""
