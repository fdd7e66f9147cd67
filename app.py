"""The browser page: `python app.py [--weights W] [--port 7860] [--host 127.0.0.1] [--allowed-host NAME]`.

Also the entry of a Hugging Face Space.
"""

import os
import sys

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nothing leaves this machine
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from sseg.app import main

if __name__ == "__main__":
    sys.exit(main())
