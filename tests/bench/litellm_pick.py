"""How long `litellm.Router` takes to pick a deployment: a worker that `decision.py` starts.

It runs in litellm's own environment, so it imports nothing of this project. Each line of stdin is
a JSON command, each line of stdout the answer to one:

    {"prompts": {"2 KB": [messages, …]}}                         → {"version": "1.2.3"}
    {"how": "sync", "prompt": "2 KB", "targets": 10, "seconds": 0.1} → {"taken_ns": [1000, …]}

Only the pick is measured: no HTTP, no retries, and the messages are Python objects already. The
deployments are of one model group, all healthy; windows and limits are declared and never reached.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.metadata import version
from itertools import count
from typing import Any, Final

PICKS_MIN: Final = 1
GROUP: Final = "group"
_MODELS: Final = ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4.1", "openai/gpt-4.1-mini")
_NO_LIMIT: Final = 10**9

Picks = dict[str, Callable[[Any], Awaitable[Any]]]


def router_of(targets: int, strategy: str) -> Any:  # noqa: ANN401  no dependency, so untyped
    return import_module("litellm").Router(
        model_list=[
            {
                "model_name": GROUP,
                "litellm_params": {
                    "model": _MODELS[index % len(_MODELS)],
                    "api_key": "mock",
                    "api_base": f"http://127.0.0.1:9/{index}/v1",
                    "rpm": _NO_LIMIT,
                    "tpm": _NO_LIMIT,
                },
                "model_info": {"id": f"target-{index}", "max_input_tokens": _NO_LIMIT},
            }
            for index in range(targets)
        ],
        routing_strategy=strategy,
        enable_pre_call_checks=True,
    )


def picks_of(targets: int) -> Picks:
    """Three ways to ask, with a dictionary of other arguments as `completion` always has one.

    *sync* and *async* by the default strategy, a draw weighted by `rpm`; *cost* by the one that
    takes the cheapest, which is only to be had asynchronously.
    """
    shuffling, by_cost = (router_of(targets, s) for s in ("simple-shuffle", "cost-based-routing"))

    async def of_completion(messages: Any) -> Any:  # noqa: ANN401
        return shuffling.get_available_deployment(model=GROUP, messages=messages, request_kwargs={})

    async def of_acompletion(messages: Any) -> Any:  # noqa: ANN401
        return await shuffling.async_get_available_deployment(
            model=GROUP, messages=messages, request_kwargs={}
        )

    async def of_cost(messages: Any) -> Any:  # noqa: ANN401
        return await by_cost.async_get_available_deployment(
            model=GROUP, messages=messages, request_kwargs={}
        )

    return {"sync": of_completion, "async": of_acompletion, "cost": of_cost}


async def measured(
    pick: Callable[[Any], Awaitable[Any]], prompts: list[Any], seconds: float
) -> list[int]:
    """Each pick's CPU time in ns, its threads' too; the prompts take turns: none is remembered."""
    taken_ns = []
    end_s = time.monotonic() + seconds
    for number in count():
        if number >= PICKS_MIN and time.monotonic() >= end_s:
            break
        messages = prompts[number % len(prompts)]
        begun_ns = time.process_time_ns()
        deployment = await pick(messages)
        taken_ns.append(time.process_time_ns() - begun_ns)
        assert deployment["litellm_params"]["api_base"].startswith("http://127.0.0.1:9/")
    return taken_ns


def main() -> None:
    # What a library prints is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr
    prompts: dict[str, list[Any]] = {}
    picks: dict[int, Picks] = {}
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            asked = json.loads(line)
            answer: dict[str, Any]
            if "prompts" in asked:
                prompts = asked["prompts"]
                import_module("litellm")
                answer = {"version": version("litellm")}
            else:
                targets = asked["targets"]
                if targets not in picks:
                    picks[targets] = picks_of(targets)
                    for pick in picks[targets].values():  # what is only ever done once
                        runner.run(measured(pick, next(iter(prompts.values())), 0))
                pick, texts = picks[targets][asked["how"]], prompts[asked["prompt"]]
                answer = {"taken_ns": runner.run(measured(pick, texts, asked["seconds"]))}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
