"""The app's own pieces: with app.py and pages/, the only code that knows Streamlit."""
