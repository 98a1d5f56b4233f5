"""Jobs on a cluster: what is submitted, and what has become of it. The scheduling is the cluster's."""
