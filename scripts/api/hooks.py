"""What Schemathesis does that no caller would, each with its reason."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    # Where it combines several optional headers it loses the quotes of a key although the pattern asks for them, and then takes the refusal
    # for a fault. Only in requests that are meant to be valid.
    key = (case.headers or {}).get("Idempotency-Key")
    if key is not None and case.meta and case.meta.generation.mode.is_positive and not key.startswith('"'):
        case.headers["Idempotency-Key"] = f'"{key}"'
