"""The public data sets as they are on disk: depth images, true joints and hand centres."""
