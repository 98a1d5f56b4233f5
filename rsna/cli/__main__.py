"""`python -m rsna.cli VERB key=value …`, where the script `rsna` is not on the path."""

import sys

from rsna.cli.main import main

sys.exit(main())
