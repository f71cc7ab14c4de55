"""A web page and an HTTP API: a video in, answers out (`videozoo serve`).

The server process takes uploads and answers requests; it never decodes a video and never imports
PyTorch. A worker process holds the models, with limits for time and memory: what a hostile file
breaks is that process, which is started anew, and the one job.

::

    app        routes            guard     who may ask, from where; headers of answers
    uploads    bytes to a file   supervisor   feeds worker processes, and ends them
    store      jobs, in SQLite   worker    what runs in them
    pages      HTML              limits    how much of everything
"""
