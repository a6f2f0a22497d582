"""One small site for each framework, as `shop.py`: the same routes, told in each framework's own words.

Every path answers with what the site knows of a request; `/socket` says back what it hears; `goods` is what
the site's own lifespan has put there. The gate is nowhere in here: it comes from the documentation.
"""
