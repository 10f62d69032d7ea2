"""A Runware image request: what is read, what is rejected, and what is listed as ignored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_resolver import ImageRequest, LoraResolverError, parse_image_request

# As in the API's documentation, with a checkpoint from CivitAI.
DOCUMENTED = """[
  {
    "taskType": "imageInference",
    "taskUUID": "a770f077-f413-47de-9dac-be0b26a35da6",
    "outputType": "URL",
    "outputFormat": "jpg",
    "positivePrompt": "a red supercar in a city at sunset",
    "negativePrompt": "blurry",
    "height": 768,
    "width": 1024,
    "model": "civitai:101055@128078", // SDXL
    "steps": 30,
    "CFGScale": 6.5,
    "seed": 9223372036854775807,
    "scheduler": "DPM++ 2M Karras",
    "numberResults": 2,
    "lora": [ // LoRAs to use
      { "model": "civitai:120096@135931", "weight": 0.7 },
      { "model": "civitai:245889@277389", "weight": 0.5 },
    ]
  }
]"""


def request(**members: Any) -> ImageRequest:
    return parse_image_request({"taskType": "imageInference", "positivePrompt": "a house", **members})


def faults(document: object, task: int = 1) -> list[str]:
    with pytest.raises(LoraResolverError) as caught:
        parse_image_request(document, task)
    return [str(error) for error in caught.value.each()]


def reasons(read: ImageRequest) -> dict[str, object]:
    return {each.parameter: each.value for each in read.left_out}


def test_the_documentation_s_request() -> None:
    read = parse_image_request(DOCUMENTED)
    assert (read.positive, read.negative) == ("a red supercar in a city at sunset", "blurry")
    assert (read.width, read.height, read.number_results) == (1024, 768, 2)
    assert (read.steps, read.cfg_scale, read.seed) == (30, 6.5, 9223372036854775807)
    assert read.scheduler == "DPM++ 2M Karras"
    assert str(read.model) == "civitai:101055@128078"
    assert read.vae is None
    assert [(str(entry.identifier), entry.weight) for entry in read.lora] == [
        ("civitai:120096@135931", 0.7),
        ("civitai:245889@277389", 0.5),
    ]
    assert read.assumed == ()
    assert reasons(read) == {
        "taskUUID": "a770f077-f413-47de-9dac-be0b26a35da6",
        "outputType": "URL",
        "outputFormat": "jpg",
    }


def test_a_task_object_is_an_array_of_one() -> None:
    task = {"taskType": "imageInference", "positivePrompt": "a house", "width": 512, "height": 512}
    assert parse_image_request(task) == parse_image_request([task]) == parse_image_request(json.dumps(task))


def test_what_the_request_does_not_say_is_a_default_and_says_so() -> None:
    read = request()
    assert (read.width, read.height, read.steps, read.cfg_scale) == (1024, 1024, 20, 7.0)
    assert (read.seed, read.model, read.scheduler, read.lora) == (None, None, "", ())
    assert read.assumed == ("width", "height", "steps", "CFGScale")


def test_strength_counts_only_with_a_picture_to_start_from() -> None:
    assert request(strength=0.4).strength is None
    assert request(strength=0.4, seedImage="https://example.com/a.png").strength == 0.4
    assert request(seedImage="59a2edc2-45e6-429f-be5f-7ded59b92046").strength == 0.8


@pytest.mark.parametrize(
    ("key", "low", "high", "step"),
    [
        ("width", 16, 16384, 1),
        ("height", 16, 16384, 1),
        ("steps", 1, 10000, 1),
        ("CFGScale", 0, 100, 0.01),
        ("seed", 0, 2**64 - 1, 1),
        ("numberResults", 1, 4096, 1),
        ("clipSkip", 0, 24, 1),
        ("strength", 0, 1, 0.01),
    ],
)
def test_the_lowest_and_the_highest_number_are_taken_and_no_other(
    key: str, low: float, high: float, step: float
) -> None:
    member = {"CFGScale": "cfg_scale", "numberResults": "number_results", "clipSkip": "clip_skip"}.get(
        key, key
    )
    for value in (low, high):
        read = request(seedImage="https://example.com/a.png", **{key: value})
        assert getattr(read, member) == value
        assert key not in read.assumed
    for value in (low - step, high + step):
        (fault,) = faults(
            {"taskType": "imageInference", "positivePrompt": "", "seedImage": "x" * 99, key: value}
        )
        assert fault.startswith(f"{key}: ")


def test_lycoris_are_read_as_lora_and_named_as_lycoris() -> None:
    read = request(lora=[{"model": "civitai:1@2"}], lycoris=[{"model": "civitai:3@4", "weight": 0.5}])
    assert [(str(each.identifier), each.weight, each.place) for each in read.lora] == [
        ("civitai:1@2", 1, "lora[0]"),
        ("civitai:3@4", 0.5, "lycoris[0]"),
    ]
    task = {"taskType": "imageInference", "positivePrompt": ""}
    (fault,) = faults({**task, "lycoris": [{"model": "civitai:3@4", "weight": "much"}]})
    assert fault.startswith("lycoris[0].weight: ")
    assert request(lycoris=None, lora=None).lora == request(lycoris=[]).lora == ()


def test_embeddings_have_a_model_and_a_weight() -> None:
    models = [
        {"model": "civitai:1@2"},
        {"model": " civitai:3@4 ", "weight": None},
        {"model": "urn:air:sdxl:embedding:civitai:5@6", "weight": -4},
        {"model": "civitai:7@8", "weight": 4},
    ]
    read = request(embeddings=models)
    assert [(str(each.identifier), each.weight, each.place) for each in read.embeddings] == [
        ("civitai:1@2", 1, "embeddings[0]"),
        ("civitai:3@4", 1, "embeddings[1]"),
        ("civitai:5@6", -4, "embeddings[2]"),
        ("civitai:7@8", 4, "embeddings[3]"),
    ]
    wrong = [
        *(5, {}, {"model": " "}, {"model": 5}, {"model": "civitai:1@2", "weight": 4.1}),
        *({"model": "civitai:1@2", "weight": -4.1}, {"model": "civitai:1@2", "weight": "1"}, {"model": "?"}),
    ]
    task = {"taskType": "imageInference", "positivePrompt": ""}
    assert [fault.split(": ")[0] for fault in faults({**task, "embeddings": wrong})] == [
        *(f"embeddings[{number}]" for number in range(4)),
        *(f"embeddings[{number}].weight" for number in range(4, 7)),
        "embeddings[7].model",
    ]
    assert faults({**task, "embeddings": {"model": "civitai:1@2"}})[0].startswith("embeddings: ")


def test_a_blank_prompt_is_empty() -> None:
    assert request(positivePrompt="__BLANK__").positive == ""


@pytest.mark.parametrize(
    "text",
    [
        "civitai:101055@128078",
        "urn:air:sdxl:checkpoint:civitai:101055@128078",
        "urn:air:sdxl:model:civitai:101055@128078.safetensors",
        "https://civitai.com/models/101055?modelVersionId=128078",
    ],
)
def test_a_checkpoint_in_every_spelling(text: str) -> None:
    assert str(request(model=text).model) == "civitai:101055@128078"


def test_what_has_no_place_is_listed_without_addresses_and_pictures() -> None:
    read = request(
        seedImage="data:image/png;base64,AAAA",
        webhookURL="https://example.com/hook?token=secret",
        controlNet=[{"model": "runware:25@1"}],
        clipSkip=1,
        outputQuality=95,
        embeddings=[],
        somethingNew=True,
    )
    assert reasons(read) == {
        "seedImage": None,
        "webhookURL": None,
        "controlNet": None,
        "outputQuality": 95,
        "somethingNew": True,
    }
    assert all(each.reason for each in read.left_out)
    assert read.clip_skip == 1


def test_faults_are_shown_together_each_at_its_place() -> None:
    document = {
        "taskType": "imageInference",
        "positivePrompt": 5,
        "width": "1024",
        "height": 1e9,
        "steps": 20.5,
        "model": "nonsense",
        "lora": [{"model": "civitai:1@2", "weight": 9}],
        "CFGscale": 7,
    }
    found = faults(document)
    assert [fault.split(":")[0] for fault in found] == [
        "positivePrompt",
        "width",
        "height",
        "steps",
        "model",
        "lora[0].weight",
        "CFGscale",
    ]
    assert 'Did you mean "CFGScale"?' in found[-1]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "request: The request is empty"),
        ("[]", "request: The request has no image task"),
        ("[1]", "request: Expected a task object"),
        ('[{"model": "civitai:1@2", "weight": 1}]', "request: The request has no image task"),
        ('{"taskType": "videoInference"}', 'request: The request has no image task, only "videoInference"'),
        ('{"taskType": ', "request: "),
    ],
)
def test_what_is_no_request_says_what_it_is(document: str, message: str) -> None:
    assert faults(document)[0].startswith(message)


def test_an_api_key_is_refused_and_not_repeated() -> None:
    document = [{"taskType": "authentication", "apiKey": "secret-123"}, {"taskType": "imageInference"}]
    (fault,) = faults(document)
    assert "contains an API key" in fault
    assert "secret-123" not in fault


def test_of_several_tasks_one_is_chosen_and_others_are_listed() -> None:
    tasks = [
        {"taskType": "imageUpload", "image": "…"},
        {"taskType": "imageInference", "positivePrompt": "first"},
        {"taskType": "imageInference", "positivePrompt": "second", "lora": [{"model": "civitai:1@2"}]},
    ]
    assert parse_image_request(tasks).positive == "first"
    second = parse_image_request(tasks, 2)
    assert second.positive == "second"
    assert len(second.lora) == 1
    assert reasons(second) == {"taskType": "imageUpload"}
    assert faults(tasks, 3)[0].startswith("task: There's no image task 3")


_MEMBERS = (
    *(
        "taskType",
        "positivePrompt",
        "width",
        "height",
        "steps",
        "CFGScale",
        "seed",
        "scheduler",
        "model",
        "vae",
    ),
    *("lora", "numberResults", "strength", "clipSkip", "seedImage", "webhookURL", "safety", "somethingNew"),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(_MEMBERS, _VALUES)),
    st.integers(-1, 3),
)
def test_whatever_is_pasted_is_read_or_refused_with_a_place(task: dict[str, Any], number: int) -> None:
    try:
        read = parse_image_request({"taskType": "imageInference", **task}, number)
    except LoraResolverError as error:
        assert all(each.code and each.message for each in error.each())
    else:
        json.dumps([each.as_dict() for each in read.left_out], allow_nan=False)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([1, 2], "an array"),
        ({"a": 1}, "an object"),
        (True, "true"),
        (1e25, "1e+25"),
        (10**25, "a number of more than 20 digits"),
    ],
)
def test_a_wrong_value_is_named_in_few_words(value: object, named: str) -> None:
    with pytest.raises(LoraResolverError) as raised:
        parse_image_request({"taskType": "imageInference", "positivePrompt": "", "width": value})
    assert named in str(raised.value)
    assert len(str(raised.value)) < 300
