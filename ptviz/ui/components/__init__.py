"""Building blocks that several pages share: charts, drawings, forms, messages."""
