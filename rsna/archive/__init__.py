"""Any folder → a table of its images: whose they are, of which exam and side, and what is known of them.

``archive`` reads headers, ``patients`` and ``labels`` tell people and exams apart where headers do not, ``copies``
counts each image once. ``published`` writes the table of a public set, and ``catalogue`` says what is known of each.
"""
