"""`make audit`: look up known vulnerabilities of the locked packages.

It says "audited" only where uv had an answer for each package, and "not audited" where the service is away.
"""

from __future__ import annotations

import re
import subprocess
import sys

NOT_AUDITED = 2


def audit(uv: str, *options: str) -> int:
    """Run `uv audit` and say what its end means.

    Returns 0 where nothing is known against any package, 1 where something is, 2 where nobody was asked. uv prints the findings.
    """
    done = subprocess.run(
        [uv, "audit", "--frozen", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    sys.stdout.write(done.stdout)
    looked_up = re.search(r"^Found .* in ([1-9]\d*) packages", done.stdout, re.MULTILINE)
    if looked_up is None or done.returncode not in (0, 1):
        sys.stdout.write(
            "not audited: nothing is known about the locked packages. Give the command again where api.osv.dev can be reached "
            f"(uv ended with status {done.returncode})\n"
        )
        return NOT_AUDITED
    words = "nothing known against them" if done.returncode == 0 else "see above"
    sys.stdout.write(f"audited: {looked_up[1]} packages, {words}\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(audit(*sys.argv[1:]))
