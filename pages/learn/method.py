"""One method: the idea, the anatomy, the equation and its source, stages, knobs, cost, and a way to train it now."""

from ptviz.ui.components.errors import explained
from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.learn import method as explaining
from ptviz.ui.learn import paper_claims

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
        paper_claims.claims(method)
    with explained():
        explaining.judgement(method, shape)
preload()
