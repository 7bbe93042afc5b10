"""What other processes see of an edit. This package is also the app and the web site that those processes run."""
