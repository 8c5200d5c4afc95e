"""The embedded corpus: the same bits everywhere, no two tales alike, sentences that are true and agree."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.corpus import lexicon as lex
from data.corpus.narration import DOCUMENT_TOKEN, VOCAB_SIZE, decode, generate, narrate, narrate_all
from data.corpus.randomness import below, stream_keys

SEED = 20


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return generate(SEED, 400_000)


@pytest.fixture(scope="module")
def tales(tokens: np.ndarray) -> list[str]:
    """Whole tales, words and points apart, one space between."""
    starts = np.flatnonzero(tokens == DOCUMENT_TOKEN)
    return [" ".join(lex.WORDS[number] for number in tale[1:]) for tale in np.split(tokens, starts)[1:-1]]


def test_splitmix64_gives_the_published_numbers() -> None:
    """The reference generator's first outputs for seed 1234567 are 6457827717110365317 and 3203168211198807973."""
    keys = np.full(2, 1234567, np.uint64)
    expected = [6457827717110365317 >> 33, 3203168211198807973 >> 33]
    assert below(keys, np.arange(2, dtype=np.uint64), np.full(2, 2**31)).tolist() == expected


def test_streams_do_not_depend_on_how_they_are_batched() -> None:
    assert stream_keys(3, 0, 10)[4:].tolist() == stream_keys(3, 4, 6).tolist()


@settings(max_examples=5)
@given(seed=st.integers(0, 2**64 - 1), count=st.integers(0, 5000))
def test_a_shorter_text_is_the_start_of_a_longer_one(seed: int, count: int) -> None:
    longer = generate(seed, 5000)
    assert longer.dtype == np.uint16
    assert np.array_equal(generate(seed, count), longer[:count])


@settings(max_examples=5)
@given(wanted=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 5000)), max_size=4))
def test_texts_told_together_are_those_told_one_by_one(wanted: list[tuple[int, int]]) -> None:
    for (seed, count), text in zip(wanted, narrate_all(wanted), strict=True):
        alone = narrate(seed, count)
        assert np.array_equal(text.tokens, alone.tokens)
        assert np.array_equal(text.nats, alone.nats)


def test_text_begins_with_a_document_and_stays_in_the_vocabulary(tokens: np.ndarray) -> None:
    assert tokens[0] == DOCUMENT_TOKEN
    assert np.unique(tokens).tolist() == list(range(VOCAB_SIZE))
    assert len(set(lex.WORDS)) == VOCAB_SIZE <= 1024


def test_seeds_share_no_tale(tokens: np.ndarray, tales: list[str]) -> None:
    assert len(set(tales)) == len(tales)
    other = " ".join(lex.WORDS[number] for number in generate(SEED + 1, 400_000)[1:]).split(" <doc> ")
    assert not set(other) & set(tales)


def test_entropy_is_between_nothing_and_what_unigrams_need(tokens: np.ndarray) -> None:
    text = narrate(SEED, tokens.size)
    assert np.array_equal(text.tokens, tokens)
    assert (text.nats >= 0).all()
    frequencies = np.bincount(tokens) / tokens.size
    assert 0.5 < text.nats.mean(dtype=np.float64) < -(frequencies * np.log(frequencies)).sum() / 2


def test_each_choice_costs_what_its_frequency_says() -> None:
    """The title draws one of six topics evenly: ln 6 on the sixth token, nothing on the others but the first."""
    text = narrate(SEED, 50_000)
    starts = np.flatnonzero(text.tokens == DOCUMENT_TOKEN)[:-1]
    assert text.nats[starts + 5] == pytest.approx(np.log(6))
    assert (text.nats[starts[:, None] + np.arange(1, 5)] == 0).all()


def test_pronouns_have_the_gender_of_the_last_subject(tales: list[str]) -> None:
    women = {lex.WORDS[number] for number in range(lex.NAMES.first, lex.NAMES.first + lex.FEMALE_NAMES.count)}
    introduced = re.compile(r"the \w+ \w+ (\w+) lives in the \w+ \. (she|he) ")
    found = [match.groups() for tale in tales for match in introduced.finditer(tale)]
    assert len(found) > 100
    assert all((name in women) == (pronoun == "she") for name, pronoun in found)


def test_homes_colours_and_counts_stay_what_they_were(tales: list[str]) -> None:
    found = {"homes": 0, "colours": 0, "counts": 0}
    for tale in tales:
        homes = dict(re.findall(r"the \w+ \w+ (\w+) lives in the (\w+)", tale))
        for name, place in re.findall(r"(\w+) goes home to the (\w+)", tale):
            found["homes"] += name in homes
            assert homes.get(name, place) == place
        colours = {noun: colour for colour, noun in re.findall(r"finds a (\w+) (\w+) in", tale)}
        for noun, colour in re.findall(r"the (\w+) is (\w+) \.", tale):
            found["colours"] += noun in colours
            assert colours.get(noun, colour) == colour
        numbers = [number(word) for word in re.findall(r"counts (\w+)", tale)]
        for gift, total in re.findall(r"gets (\w+) more and now has (\w+)", tale):
            found["counts"] += 1
            numbers.append(numbers[-1] + number(gift))
            assert number(total) == numbers[-1]
    assert min(found.values()) > 100


def number(word: str) -> int:
    return lex.WORDS.index(word) - lex.NUMBERS.first + 1


def spellings(words: lex.Words) -> tuple[str, ...]:
    return lex.WORDS[words.first : words.first + words.count]


def test_verbs_agree_across_relative_clauses(tales: list[str]) -> None:
    is_plural = dict.fromkeys(spellings(lex.SINGULARS) + spellings(lex.INTRANSITIVES_SINGULAR), False)
    is_plural |= dict.fromkeys(spellings(lex.PLURALS) + spellings(lex.INTRANSITIVES_PLURAL), True)
    verbs = set(spellings(lex.INTRANSITIVES_SINGULAR) + spellings(lex.INTRANSITIVES_PLURAL))
    far = 0
    for words in (sentence.split() for tale in tales for sentence in tale.split(" . ")):
        if words[0] == "the" and words[1] in is_plural:
            far += len(words) > 8
            assert [is_plural[word] for word in words if word in verbs] == [is_plural[words[1]]], words
    assert far > 100


def test_decoding_reads_like_english() -> None:
    text = decode(generate(SEED, 2000))
    paragraph = text.split("\n\n")[0]
    assert re.fullmatch(r"A tale of the \w+\.( The [a-z]+ [a-z]+ [A-Z][a-z]+ lives in the \w+\.){2}.*", paragraph)
