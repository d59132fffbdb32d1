"""The steps of a request, one module each.

In this order: recording, origin, route, authentication, authorization, freshness, caching; then the endpoint. Each step
does its part and awaits the next one, or ends the chain with a response or an error of `syncd.errors`.
"""
