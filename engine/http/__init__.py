"""The API: the engine over HTTP, for OpenAI's clients and for operators' scripts.

The engine knows nothing of it. Whoever runs an engine may put an ``ApiServer`` in front of it;
importing that takes half a second, so a console does it once its first picture is painted.
"""
