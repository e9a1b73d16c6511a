"""What the routes of feedback take and answer."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from earful.data.labels.multilabel import MAX_CELL_CHARACTERS, normalised, problem_of

MAX_COMMENT_CHARACTERS = 2_000
MAX_KEY_CHARACTERS = 200


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _printable_lines(text: str) -> str:
    _printable("".join(text.splitlines()))
    return text


def _label(text: str) -> str:
    if (problem := problem_of(text)) is not None:
        raise ValueError(problem)
    return normalised(text)


# As in a labels CSV: it ends up in file names, charts and headers.
LabelText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CELL_CHARACTERS),
    AfterValidator(_label),
]
PersonText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_KEY_CHARACTERS),
    AfterValidator(_printable),
]
OptionalText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_KEY_CHARACTERS),
    AfterValidator(_printable),
]
CommentText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_COMMENT_CHARACTERS),
    AfterValidator(_printable_lines),
]


class FeedbackGiven(BaseModel):
    """What is right of a recording, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: LabelText | None = Field(
        description="what is said in it, several as `dog|rain` where the model knows several at "
        "once; null takes back what `who` said before",
        examples=["7"],
    )
    who: PersonText = Field(
        description="who says so: any name or key, under which it can be shown and deleted",
        examples=["anna"],
    )
    prediction_id: str | None = Field(
        None, max_length=2_000, description="of an answer of /v1/classify; or send the file"
    )
    speaker: OptionalText = Field("", description="who speaks in it", examples=["theo"])
    comment: CommentText = ""
    new_label: bool = Field(False, description="the label may be none of the model's")
    source: Literal["api", "page", "review"] = "api"


class FeedbackStored(BaseModel):
    id: int = Field(examples=[17])
    sha256: str = Field(description="of the recording's bytes")
    audio_kept: bool = Field(description="whether the server has the recording")
    repeated: bool = Field(description="it was stored before, and once is enough")


class FeedbackStatus(BaseModel):
    feedback: bool = Field(description="whether labels are kept here")
    keep_audio: Literal["off", "feedback", "uncertain", "all"]


class ReviewedModel(BaseModel):
    name: str
    version: str


class HeardInClip(BaseModel):
    label: str
    score: float
    margin: float = Field(
        description="distance of the two best scores; of sigmoid scores twice that of the one "
        "nearest to 0.5, which decides"
    )
    model: ReviewedModel


class ReviewClip(BaseModel):
    sha256: str
    prediction_id: str = Field(description="for POST /v1/feedback")
    audio: str = Field(description="where the recording is, from the root of the service")
    seconds: float
    reason: Literal["disagreeing", "unlabelled", "agreed"]
    heard: HeardInClip
    votes: dict[str, int] = Field(description="labels that others gave, with their counts")


class ReviewAnswer(BaseModel):
    clips: list[ReviewClip]
    after: str = Field(description="for the next page; empty at the end")
    waiting: int = Field(description="clips that `who` has not labelled")
    labelled: int = Field(description="clips that `who` has labelled")
    labels: list[str] = Field(description="the model's, and others that people gave")
    scores: Literal["softmax", "sigmoid"] = Field(
        description="`sigmoid`: a clip may have several labels, given as `dog|rain`"
    )


class PersonAnswer(BaseModel):
    """All that is kept of a person."""

    key: str
    feedback: list[dict[str, Any]]
    audio: list[dict[str, Any]]


class DeletedAnswer(BaseModel):
    feedback: int = Field(description="rows that were deleted")
    audio: int = Field(description="recordings that were deleted")
    bytes: int
