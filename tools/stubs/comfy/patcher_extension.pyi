class CallbacksMP:
    ON_CLONE: str
    ON_PREPARE_STATE: str

class WrappersMP:
    OUTER_SAMPLE: str
    SAMPLER_SAMPLE: str
    PREDICT_NOISE: str
