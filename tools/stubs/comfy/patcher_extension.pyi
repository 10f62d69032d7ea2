class CallbacksMP:
    ON_CLONE: str

class WrappersMP:
    OUTER_SAMPLE: str
    SAMPLER_SAMPLE: str
    PREDICT_NOISE: str
