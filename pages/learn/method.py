"""One method: the idea, the anatomy, equation, source, stages, hyperparameters and cost, and a button to train it."""

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.learn import method as explaining
from ptviz.ui.learn import paper_claims

with show_errors():
    method, shape = explaining.render_method_header()
    with show_errors():
        explaining.render_method_diagram(method, shape)
    with show_errors():
        explaining.render_stages(method, shape)
    with show_errors():
        explaining.render_hyperparameters(method)
    with show_errors():
        explaining.render_parameter_cost(method, shape)
    with show_errors():
        paper_claims.render_paper_claims(method)
    with show_errors():
        explaining.render_differences_and_limits(method, shape)
preload_plotly()
