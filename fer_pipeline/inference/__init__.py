"""From a picture to faces with emotions, on onnxruntime and OpenCV alone."""
