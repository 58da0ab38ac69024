"""One method: idea, diagram, equation, source, stages, hyperparameters, cost, reported results and limits."""

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.learn import method as method_page
from ptviz.ui.learn import paper_claims

with show_errors():
    method, shape = method_page.render_method_header()
    with show_errors():
        method_page.render_method_diagram(method, shape)
    with show_errors():
        method_page.render_stages(method, shape)
    with show_errors():
        method_page.render_hyperparameters(method)
    with show_errors():
        method_page.render_parameter_cost(method, shape)
    with show_errors():
        paper_claims.render_paper_claims(method)
    with show_errors():
        method_page.render_differences_and_limits(method, shape)
preload_plotly()
