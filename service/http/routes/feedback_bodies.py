"""What the routes of feedback take and answer."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from earful.data.labels.multilabel import MAX_CELL_CHARACTERS, find_label_problem, normalise_label

MAX_COMMENT_CHARACTERS = 2_000
MAX_KEY_CHARACTERS = 200


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _check_printable_lines(text: str) -> str:
    _check_printable("".join(text.splitlines()))
    return text


def _label(text: str) -> str:
    if (problem := find_label_problem(text)) is not None:
        raise ValueError(problem)
    return normalise_label(text)


# As in a labels CSV: it ends up in file names, charts and headers.
LabelText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CELL_CHARACTERS),
    AfterValidator(_label),
]
AnnotatorText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_KEY_CHARACTERS),
    AfterValidator(_check_printable),
]
OptionalText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_KEY_CHARACTERS),
    AfterValidator(_check_printable),
]
CommentText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_COMMENT_CHARACTERS),
    AfterValidator(_check_printable_lines),
]


class FeedbackRequest(BaseModel):
    """What is right of a recording, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: LabelText | None = Field(
        description="what is said in it, several as `dog|rain` where the model knows several at "
        "once; null takes back what `annotator` said before",
        examples=["7"],
    )
    annotator: AnnotatorText = Field(
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


class FeedbackResponse(BaseModel):
    id: int = Field(examples=[17])
    sha256: str = Field(description="of the recording's bytes")
    recording_saved: bool = Field(description="whether the server has the recording")
    duplicate: bool = Field(description="it was stored before, and once is enough")


class FeedbackStatusResponse(BaseModel):
    feedback: bool = Field(description="whether labels are kept here")
    save_recordings: Literal["off", "feedback", "uncertain", "all"]


class ReviewedModel(BaseModel):
    name: str
    version: str


class ReviewPrediction(BaseModel):
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
    reason: Literal["disputed", "unlabelled", "agreed"]
    prediction: ReviewPrediction
    label_counts: dict[str, int] = Field(description="labels that others gave, with their counts")


class ReviewResponse(BaseModel):
    clips: list[ReviewClip]
    cursor: str = Field(description="for the next page; empty at the end")
    remaining: int = Field(description="clips that `annotator` has not labelled")
    labelled: int = Field(description="clips that `annotator` has labelled")
    labels: list[str] = Field(description="the model's, and others that people gave")
    score_kind: Literal["softmax", "sigmoid"] = Field(
        description="`sigmoid`: a clip may have several labels, given as `dog|rain`"
    )


class SubjectDataResponse(BaseModel):
    """All that is kept of a person."""

    key: str
    annotations: list[dict[str, Any]]
    recordings: list[dict[str, Any]]


class ErasureResponse(BaseModel):
    annotations: int = Field(description="rows that were deleted")
    recordings: int = Field(description="recordings that were deleted")
    bytes: int
