"""Where models meet metrics: lists of networks × metrics → rows."""
