"""Request and response bodies of the feedback routes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from earful.data.labels.multilabel import MAX_CELL_CHARACTERS, find_label_problem, normalise_label

MAX_COMMENT_CHARACTERS = 2_000
MAX_KEY_CHARACTERS = 200


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("contains characters that are not printable")
    return text


def _check_printable_lines(text: str) -> str:
    _check_printable("".join(text.splitlines()))
    return text


def _label(text: str) -> str:
    if (problem := find_label_problem(text)) is not None:
        raise ValueError(problem)
    return normalise_label(text)


# As in a labels CSV: labels end up in file names, charts and headers.
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
    """A label for a recording, and its annotator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: LabelText | None = Field(
        description="the correct label; several as `dog|rain` for a multi-label model; null "
        "withdraws the label that `annotator` gave before",
        examples=["7"],
    )
    annotator: AnnotatorText = Field(
        description="who gives the label: any name or key, by which the data can be exported and "
        "deleted",
        examples=["anna"],
    )
    prediction_id: str | None = Field(
        None,
        max_length=2_000,
        description="from a result of /v1/classify; alternatively send the file",
    )
    speaker: OptionalText = Field("", description="who speaks in the recording", examples=["theo"])
    comment: CommentText = ""
    new_label: bool = Field(False, description="accept a label that the model does not have")
    source: Literal["api", "page", "review"] = "api"


class FeedbackResponse(BaseModel):
    id: int = Field(examples=[17])
    sha256: str = Field(description="of the recording's bytes")
    recording_saved: bool = Field(description="whether the server has saved the recording")
    duplicate: bool = Field(description="the same label was stored before")


class FeedbackStatusResponse(BaseModel):
    feedback: bool = Field(description="whether labels are stored")
    save_recordings: Literal["off", "feedback", "uncertain", "all"]


class ReviewedModel(BaseModel):
    name: str
    version: str


class ReviewPrediction(BaseModel):
    label: str
    score: float
    margin: float = Field(
        description="difference of the two highest scores; for sigmoid scores, twice the smallest "
        "distance of a score from 0.5"
    )
    model: ReviewedModel


class ReviewClip(BaseModel):
    sha256: str
    prediction_id: str = Field(description="for POST /v1/feedback")
    audio: str = Field(description="path of the recording on this service")
    seconds: float
    reason: Literal["disputed", "unlabelled", "agreed"]
    prediction: ReviewPrediction
    label_counts: dict[str, int] = Field(description="how often other annotators gave each label")


class ReviewResponse(BaseModel):
    clips: list[ReviewClip]
    cursor: str = Field(description="for the next page; empty at the end")
    remaining: int = Field(description="clips that `annotator` has not labelled")
    labelled: int = Field(description="clips that `annotator` has labelled")
    labels: list[str] = Field(description="labels of the model, and new ones that annotators gave")
    score_kind: Literal["softmax", "sigmoid"] = Field(
        description="`sigmoid`: a clip may have several labels, given as `dog|rain`"
    )


class SubjectDataResponse(BaseModel):
    """All data of a person."""

    key: str
    annotations: list[dict[str, Any]]
    recordings: list[dict[str, Any]]


class ErasureResponse(BaseModel):
    annotations: int = Field(description="deleted rows")
    recordings: int = Field(description="deleted recordings")
    bytes: int
