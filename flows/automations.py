"""Apply the automations of automations.yaml to the Prefect server.

Run as `python -m flows.automations`. Giving it again changes them to what the file says now, where `prefect automation create`
would make a second one of each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL

FILE = Path(__file__).with_suffix(".yaml")


def apply(client: SyncPrefectClient) -> list[str]:
    """Create or change each automation of the file, by its name; return what was done.

    Where a name is there several times, the first stays. A paused automation stays paused.
    """
    done = []
    for content in yaml.safe_load(FILE.read_text(encoding="utf-8"))["automations"]:
        automation = AutomationCore.model_validate(content)
        known = client.read_automations_by_name(automation.name)
        if known:
            client.update_automation(known[0].id, automation.model_copy(update={"enabled": known[0].enabled}))
        else:
            client.create_automation(automation)
        for copy in known[1:]:
            client.delete_automation(copy.id)
        copies = f", {len(known) - 1} copies deleted" if len(known) > 1 else ""
        done.append(f"{automation.name}: {'updated' if known else 'created'}{copies}")
    return done


if __name__ == "__main__":
    if not PREFECT_API_URL.value():
        sys.exit("no server is named: set PREFECT_API_URL, such as http://127.0.0.1:4200/api")
    with get_client(sync_client=True) as client:
        sys.stdout.writelines(f"{line}\n" for line in apply(client))
