"""One method: the idea, the anatomy, the equation and its source, stages, knobs, cost, and a way to train it now."""

from ptviz.ui import claiming, explaining
from ptviz.ui.failures import explained
from ptviz.ui.live_plot import preload

with explained():
    method, shape = explaining.head()
    with explained():
        explaining.anatomy(method, shape)
    with explained():
        explaining.stages(method, shape)
    with explained():
        explaining.knobs(method)
    with explained():
        explaining.cost(method, shape)
    with explained():
        claiming.claims(method)
    with explained():
        explaining.judgement(method, shape)
preload()
