"""What each figure means, in words that need no statistics."""

WORDS = {
    "auroc": (
        "AUROC: take one slide with and one without the finding by chance; how often does the one with it get "
        "the higher score? 0.5 is a coin, 1 is always."
    ),
    "auprc": (
        "AUPRC: how many of the slides that are called are right, averaged over how many one wants to find. A "
        "blind guess reaches the share of slides with the finding, so compare with the majority row."
    ),
    "sensitivity_at_specificity": (
        "Sensitivity at a specificity: of the slides with the finding, how many are found if at most the stated "
        "share of the others may be false alarms."
    ),
    "sensitivity": (
        "Sensitivity at the operating point: of the slides with the finding, how many are called, with a "
        "threshold that was chosen on other patients."
    ),
    "specificity": ("Specificity at the operating point: of the slides without the finding, how many are not called."),
    "balanced_accuracy": ("Balanced accuracy: the share of right calls, each class counting alike however rare it is."),
    "f1": (
        "F1: one number for found and rightly called (their harmonic mean); it depends on how common the finding is."
    ),
    "pearson": (
        "Pearson correlation: do answers rise with the truth? 1 is a straight line, 0 is no relation. It does "
        "not see a wrong scale."
    ),
    "mean_absolute_error": (
        "Mean absolute error: how far answers lie from the truth on average, in the unit of the answer. Lower "
        "is better."
    ),
    "r2": (
        "R2: the share of the differences between patients that is explained; 0 is as good as always saying the "
        "mean, below 0 is worse."
    ),
    "silhouette": (
        "Silhouette: how well the classes fall apart in what the model computed inside, -1 to 1. It says "
        "nothing about errors."
    ),
}
"""By metric: one sentence or two."""

INTERVAL = (
    "In brackets: the 95 % interval. Had other patients of the same kind been judged, the figure would mostly "
    "lie in it. All slides of a patient are drawn together (bootstrap over patients). A star marks a figure "
    "that no drawing of these patients changes, for example because every answer is right: the interval then "
    "says nothing about others."
)

FLOORS = (
    "Trivial answers stand beside every figure: 'majority' never looks at the slide and says what was most "
    "common in training; 'linear probe' is a linear model on the mean of the slide's tile features. What does "
    "not beat them has not learned to look."
)

CALIBRATION = (
    "Calibration asks: of all slides called 30 %, do 30 % have the finding? ECE is the mean gap in bins of "
    "equally many slides. A perfectly calibrated model shows a gap too, because bins are small: the value 'by "
    "chance' beside it."
)

SETS = (
    "A prediction set holds every class that is still possible. One class: the model answers. Two or more, or "
    "none: it abstains, and a second reading is due."
)
