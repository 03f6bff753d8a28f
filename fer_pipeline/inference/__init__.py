"""Emotion recognition in images and videos, with onnxruntime and OpenCV only."""
