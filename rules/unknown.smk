"""Messages for targets that no other rule makes; included last, since it inspects all other rules."""


def made_by_rules():
    """A regular expression of the part after results/ of all outputs of rules."""
    patterns = (output.regex().pattern for rule in workflow.rules for output in rule.output)
    bare = (re.sub(r"\(\?P<\w+>", "(?:", pattern) for pattern in patterns)
    return "|".join(pattern.removeprefix("results/").removesuffix("$") for pattern in bare)


rule not_configured:
    input:
        lambda w: plain(CONFIG.refuse_target, f"results/{w.anything}"),
    output:
        "results/{anything}",
    wildcard_constraints:
        anything=rf"(?!(?:{made_by_rules()})$).+",
