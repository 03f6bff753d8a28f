"""Texts that are the same on every model card: uses, limits, methods."""

from __future__ import annotations

from typing import Final

WHAT: Final = (
    "It classifies the apparent facial expression: it gives the label that the annotators of its training data would give "
    "to a picture of a face. It does not read what a person feels, thinks or intends."
)

INTENDED: Final = (
    "Research and teaching on facial expression recognition, and comparison of methods.",
    "Experiments and demonstrations with adults who know of it and have agreed.",
)

RULED_OUT: Final = (
    "Workplace and education, with hiring and the watching of pupils or call-centre staff: Art. 5(1)(f) of the EU AI Act "
    "(Regulation (EU) 2024/1689) prohibits inferring emotions there, except for medical or safety reasons, since "
    "2 February 2025.",
    "Law enforcement, border control, credit, insurance, and any other decision about a person.",
    "Medical or safety purposes: it was neither built nor tested for them.",
    "Covert use. Art. 50(3) of the EU AI Act obliges whoever deploys an emotion recognition system to inform the persons "
    "exposed to it, at the latest when they first meet it, and to process their data under the GDPR; it applies since "
    "2 August 2026. Permitted uses may be high-risk under Annex III, point 1(c).",
)

RULED_OUT_WHY: Final = (
    "Recital 44 of the Act names the reasons: doubtful scientific basis, limited reliability, lack of specificity, limited "
    "generalisability. This section is no legal advice; the text in force is on EUR-Lex."
)

INTERVALS: Final = (
    "Intervals are 95 % bootstrap intervals over test pictures where nothing else is said. They account for the sampling "
    "of the test pictures, not for the training seed."
)

CALIBRATION: Final = (
    "This holds for pictures like those of the data above. On other pictures expect a larger error; the ECE on other data sets "
    "is in their table where there is one."
)

ELSEWHERE: Final = (
    "No pictures of another collection were at hand when it was measured, so how good it is on other collections is not known."
)

FAITHFULNESS: Final = (
    "A faithful map has a small deletion and a large insertion AUC; “trusted” means better than both baselines by the 95 % "
    "interval."
)

NOT_MEASURED: Final = (
    "Differences between groups of people. FER-2013 and sets like it carry no labels of age, gender or skin tone, so there is "
    "no figure per group. Published studies find such differences in networks of this kind; expect them here.",
    "What people felt. Labels are the impressions of annotators from one picture; on FER-2013 people themselves agree with "
    "them in about 65 % of cases (Goodfellow et al. 2013).",
    "The variation between training seeds, unless a figure says otherwise.",
    "Faces in profile, with masks, of children, and whole video scenes.",
)

LIMITS: Final = (
    "It must answer one of seven labels; contempt, mixed and weak expressions are none of them.",
    "The face must be cropped in the framing of its training pictures. Serving does so; other crops lose accuracy without "
    "any error.",
    "Test pictures come from the same collection as the training pictures. On pictures from elsewhere accuracy is lower.",
    "An answer for one picture is no evidence about a person.",
)
