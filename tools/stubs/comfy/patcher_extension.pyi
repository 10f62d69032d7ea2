class CallbacksMP:
    ON_CLONE: str
