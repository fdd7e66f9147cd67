"""What several tests share: servers to talk to, requests, tars and data sets in their official layouts."""
